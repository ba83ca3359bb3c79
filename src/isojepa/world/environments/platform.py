"""The platform `stable_worldmodel` and what its environments draw with: there, or explained."""

import functools
import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from isojepa.boundaries import reason
from isojepa.errors import UserError


def platform() -> Any:
    """The package `stable_worldmodel`.

    Raises:
        UserError: if it is not installed.
    """
    if sys.platform == "linux" and not _screen():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # pygame's, which Gymnasium draws with
    try:
        with quiet():
            import stable_worldmodel
    except ImportError as error:
        raise UserError(
            f"world models need the extra: pip install 'isojepa[world]' ({error})"
        ) from error
    return stable_worldmodel


def check_renderer(env_id: str) -> None:
    """Draw a small frame and drop it; without a screen, EGL is tried by default.

    A context alone proves nothing: GLFW without a display gives one, and a warning. Where MuJoCo
    could not draw it is not asked again: a second try in one process ends the process.

    Raises:
        UserError: naming the package and the variable, where MuJoCo cannot draw.
    """
    if importlib.util.find_spec("mujoco") is None:
        raise UserError(f"{env_id}: needs the package mujoco: pip install 'isojepa[world]'")
    if sys.platform == "linux" and not _screen():
        os.environ.setdefault("MUJOCO_GL", "egl")
    fault = _drawing_fault()
    if fault is not None:
        chosen = os.environ.get("MUJOCO_GL", "the screen")
        raise UserError(
            f"{env_id}: MuJoCo cannot draw with {chosen} ({fault}); "
            "install libegl1 and set MUJOCO_GL=egl, or install libosmesa6 and set MUJOCO_GL=osmesa"
        )


def _screen() -> str | None:
    return os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")


@functools.cache
def _drawing_fault() -> str | None:
    """Why MuJoCo cannot draw; None if it can."""
    _load_triton()
    try:
        with quiet():
            import mujoco

            model = mujoco.MjModel.from_xml_string("<mujoco/>")
            with mujoco.Renderer(model, 8, 8) as renderer:
                renderer.update_scene(mujoco.MjData(model))
                renderer.render()
    except Exception as error:  # OpenGL's loaders raise whatever their drivers make them raise
        return reason(error)
    return None


def _load_triton() -> None:
    """Load Triton, which torch imports sooner or later, before Mesa's drivers.

    Both bring an LLVM; Triton's, loaded second, would find the symbols of Mesa's and crash.
    """
    if importlib.util.find_spec("triton") is not None:
        import triton  # noqa: F401


@contextmanager
def explained(env_id: str) -> Iterator[None]:
    """Turn whatever an environment raises while it is made into a line for the user.

    Raises:
        UserError: naming the package or the variable that is likely to help.
    """
    try:
        yield
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"{env_id}: needs the package {error.name}: pip install {error.name}"
        ) from error
    except Exception as error:
        why = f"{type(error).__name__}: {reason(error)}"
        if "MjModel" in why or "MjData" in why:
            raise UserError(
                f"{env_id}: the installed dm_control and mujoco do not agree ({error}); install "
                "versions that were released together"
            ) from error
        raise UserError(
            f"{env_id}: cannot be made ({why}); if it is for want of a screen, set MUJOCO_GL=egl"
        ) from error


@contextmanager
def _failing(env_id: str, words: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {reason(error)}"
        raise UserError(f"{env_id}: {words.format(why=why)}") from error


def acting(env_id: str) -> AbstractContextManager[None]:
    """Turn whatever an environment raises at a step into a line for the user.

    Raises:
        UserError: naming the environment.
    """
    return _failing(
        env_id, "the environment failed at a step ({why}); what was done before is kept"
    )


def drawing(env_id: str) -> AbstractContextManager[None]:
    """Likewise while it begins an episode and draws its first frame."""
    return _failing(
        env_id,
        "it cannot begin an episode and draw it ({why}); its render() has to give an array "
        "(y, x, 3) of bytes for render_mode='rgb_array'",
    )


def varying(env_id: str) -> AbstractContextManager[None]:
    """Likewise with factors of variation, which some environments refuse to combine."""
    return _failing(
        env_id, "what --vary drew does not go together ({why}); name fewer factors, or more"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the warnings that Gymnasium's checks raise at the platform's environments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
