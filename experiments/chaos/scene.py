"""What is trained while faults are injected: a tiny encoder and a tiny world model.

Each scene is run once undisturbed: its weights, its time and the number of its operations on files
are what every trial is compared with.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from processes import Counter, Ended, Tamper, on_changes, run
from safetensors import safe_open

from isojepa.runs.checkpoints import list_checkpoints, load_checkpoint, read_best
from isojepa.runs.metrics import read_metrics

STEPS, SAVE_EVERY = 20, 4
SAVED = ("--log-every", "1", "--save-every", str(SAVE_EVERY), "--no-tensorboard", "--device", "cpu")
PHOTOS = (
    "--model", "resnet_nano", "--image-size", "16", "--batch-size", "16", "--slices", "16",
    "--projector-hidden", "32", "--projection-dim", "8", "--probe-every", "5", "--no-evaluate",
)  # fmt: skip
DOTS = (
    "--preset", "lewm-micro", "--frame-size", "32", "--embedding-dim", "8", "--frame-skip", "2",
    "--slices", "32", "--batch-size", "16",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """One kind of training, small enough to be killed often."""

    verb: tuple[str, ...]
    data: Path
    settings: tuple[str, ...]
    home: Path
    """Folder for its runs."""
    product: str
    """Folder of the run that holds what was trained."""

    def words(self, out: Path, *more: str, data: Path | None = None) -> list[str]:
        """The command that trains into `out`, going on where there is a run."""
        again = ("--resume",) if (out / "config.json").is_file() else ()
        place = ("--data", str(data or self.data), "--out", str(out))
        return [*self.verb, *place, *self.settings, *again, *more]

    def train(self, out: Path, *more: str, tamper: Tamper | None = None) -> Ended:
        return run(self.words(out, *more), self.home / f"{out.name}.log", tamper)


@dataclass(frozen=True)
class Undisturbed:
    """What a scene's run is when nothing happens to it."""

    scene: Scene
    run: Path
    weights: str
    """Digest of all that was trained: weights, optimiser, and what was exported."""
    seconds: float
    operations: int


def photos(home: Path, data: Path, *more: str) -> Scene:
    settings = (*PHOTOS, *SAVED, "--steps", str(STEPS), *more)
    return Scene(("pretrain",), data, settings, home, "encoder")


def dots(home: Path, data: Path) -> Scene:
    cache = ("--cache", str(home / "frames"))
    settings = (*DOTS, *SAVED, "--steps", str(STEPS), *cache)
    return Scene(("world", "train"), data, settings, home, "world_model")


def undisturbed(scene: Scene, *, learn: bool = False) -> Undisturbed:
    """Run the scene once; `learn` imports what the run did, so that later ones begin sooner."""
    out = scene.home / "undisturbed"
    shutil.rmtree(out, ignore_errors=True)
    counter = Counter()
    watch, names = on_changes(out, counter), scene.home / "modules.txt"
    ended = run(scene.words(out), scene.home / "undisturbed.log", watch, names if learn else None)
    if ended.code != 0:
        raise RuntimeError(f"the undisturbed run ended with {ended.code}:\n{ended.said}")
    for name in names.read_text().split() if learn else ():
        with suppress(ImportError):
            import_module(name)
    whole = digest(out, scene.product)
    assert whole is not None
    return Undisturbed(scene, out, whole, ended.seconds, counter.value)


def digest(out: Path, product: str) -> str | None:
    """Of the last checkpoint's weights and optimiser, the best one's step and what was exported.

    None for a run that has not ended.
    """
    checkpoints = list_checkpoints(out / "checkpoints")
    exported = out / product / "model.safetensors"
    if not checkpoints or not exported.is_file():
        return None
    last = load_checkpoint(checkpoints[-1])
    found = hashlib.sha256(f"{last.step} {read_best(out / 'checkpoints')}".encode())
    kept = {name: value for name, value in last.state.items() if name != "seconds"}
    for name, value in _leaves({"weights": last.weights, "state": kept}):
        found.update(name.encode())
        if isinstance(value, torch.Tensor):
            found.update(value.contiguous().numpy().tobytes())
        else:
            found.update(repr(value).encode())
    with safe_open(exported, "np") as file:
        for name in sorted(file.keys()):
            found.update(name.encode() + file.get_tensor(name).tobytes())
    return found.hexdigest()


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from _leaves(value[key], f"{name}.{key}")
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _leaves(part, f"{name}.{i}")
    else:
        yield name, value


def reached(out: Path) -> int:
    """The last update that the run's metrics speak of."""
    lines = read_metrics(out) if out.is_dir() else []
    return lines[-1]["step"] if lines else 0


def saved(out: Path) -> int:
    """The update of the newest checkpoint."""
    checkpoints = list_checkpoints(out / "checkpoints")
    return int(checkpoints[-1].name.removeprefix("step-")) if checkpoints else 0


def stripes(root: Path, n: int, *, side: int = 20, seed: int = 0) -> Path:
    """Grey pictures of stripes as JPEGs, in two class folders."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        phase, period = rng.uniform(0, 6), rng.uniform(3, 6)
        wave = 127 + 100 * np.sin(np.arange(side) * 2 * np.pi / period + phase)
        pixels = np.tile(wave, (side, 1)) + rng.normal(0, 5, (side, side))
        name, pixels = ("across", pixels.T) if i % 2 else ("upright", pixels)
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / name / f"{i:04}.jpg")
    return root


def episodes(path: Path, *, count: int = 6, steps: int = 24) -> Path:
    """A dot that actions push, as an HDF5 file of the platform's layout."""
    import h5py

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    frames, actions = [], []
    for _ in range(count):
        at = rng.uniform(6, 26, 2)
        for _ in range(steps):
            action = rng.uniform(-1, 1, 2)
            dot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 8)
            frame = np.full((32, 32, 3), 255.0)
            frame[..., 1:] *= 1 - dot[..., None]
            frames.append(frame.astype(np.uint8))
            actions.append(action.astype(np.float32))
            at = np.clip(at + 2 * action, 2, 30)
    with h5py.File(path, "w") as file:
        file.create_dataset("pixels", data=np.stack(frames), chunks=(1, 32, 32, 3))
        file.create_dataset("action", data=np.stack(actions), chunks=(1, 2))
        file["ep_len"] = np.full(count, steps, np.int32)
        file["ep_offset"] = np.arange(count) * steps
    return path
