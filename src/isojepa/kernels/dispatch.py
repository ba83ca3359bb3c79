"""The one place that chooses a kernel, and the operator around it, for autograd and compilers."""

import functools
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

PREFERRED = {"cpu": ("cpu", "recurrence"), "cuda": ("triton_kernel", "recurrence")}
"""Kernels to try, by type of device; on other devices plain PyTorch."""

logger = logging.getLogger(__name__)
_forced: str | None = None


@contextmanager
def use_kernel(name: str) -> Iterator[None]:
    """Compute with the kernel module of this name wherever the context is active in the process.

    Raises:
        ImportError: if it is not available on this machine.
    """
    global _forced
    importlib.import_module(f"isojepa.kernels.{name}")
    before, _forced = _forced, name
    try:
        yield
    finally:
        _forced = before


def chosen_kernel(device: torch.device) -> str:
    """Name of the kernel that computes on `device`."""
    if _forced is not None:
        return _forced
    names = PREFERRED.get(device.type, ("recurrence",))
    return next(name for name in names if name == "recurrence" or _works(name, device))


@functools.cache
def _works(name: str, device: torch.device) -> bool:
    """Whether the kernel can be imported and run: a compiler or the hardware may be missing."""
    try:
        kernel = importlib.import_module(f"isojepa.kernels.{name}")
        sums = kernel.sums(torch.zeros(1, 1, device=device), 2, 1.0)
        kernel.gradient(torch.zeros(1, 1, device=device), *sums, 1.0)
    except Exception as error:
        logger.warning("SIGReg's %s kernel is not available (%s); it runs slower", name, error)
        return False
    return True


def _kernel(device: torch.device) -> ModuleType:
    return importlib.import_module(f"isojepa.kernels.{chosen_kernel(device)}")


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def cos_sin_sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step.

    Differentiable once in `x`. Computed in float32, or in float64 if `x` is; the gradient has the
    dtype of `x`.
    """
    return torch.ops.isojepa.cos_sin_sums(x, knots, step)


@torch.library.custom_op("isojepa::cos_sin_sums", mutates_args=())
def _sums(x: Tensor, knots: int, step: float) -> tuple[Tensor, Tensor]:
    return _kernel(x.device).sums(_at_least_float32(x), knots, step)


@torch.library.custom_op("isojepa::cos_sin_sums_gradient", mutates_args=())
def _gradient(x: Tensor, grad_cos: Tensor, grad_sin: Tensor, step: float) -> Tensor:
    wide = _at_least_float32(x)
    gradient = _kernel(x.device).gradient(
        wide, grad_cos.to(wide.dtype), grad_sin.to(wide.dtype), step
    )
    return gradient.to(x.dtype)


@_sums.register_fake
def _(x: Tensor, knots: int, step: float) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    sums = x.new_empty((*x.shape[:-2], x.shape[-1], knots), dtype=wide)
    return sums, torch.empty_like(sums)


@_gradient.register_fake
def _(x: Tensor, grad_cos: Tensor, grad_sin: Tensor, step: float) -> Tensor:  # noqa: ARG001
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Tensor, int, float], output: object) -> None:  # noqa: ARG001
    x, _, ctx.step = inputs
    ctx.save_for_backward(x)


def _backward(ctx: Any, grad_cos: Tensor, grad_sin: Tensor) -> tuple[Tensor, None, None]:
    (x,) = ctx.saved_tensors
    return torch.ops.isojepa.cos_sin_sums_gradient(x, grad_cos, grad_sin, ctx.step), None, None


_sums.register_autograd(_backward, setup_context=_save)
