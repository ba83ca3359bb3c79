"""Small world models of TwoRoom, and how they plan when their embeddings are mapped linearly.

The episodes are those of the package's scripted policy with noise, the model is `lewm-micro` at 64
px. A goal is any frame of a held-out episode with the wall between, 100 steps are allowed, and the
search minimises the squared distance |(z - g) A|^2 between what it predicts and the goal, A a
matrix.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from isojepa.world import (
    CollectConfig,
    LatentModel,
    PlanConfig,
    WorldTrainConfig,
    collect,
    embed_rows,
    open_control,
    open_study,
    sampled,
    success_of,
    train,
)

ENVIRONMENT = "swm/TwoRoom-v1"


class Mapped:
    """A model whose embeddings are read through a matrix, (d, d); its dynamics stay its own."""

    def __init__(self, model: LatentModel, matrix: np.ndarray) -> None:
        self._model = model
        self._matrix = torch.from_numpy(matrix).to(model.device, torch.float32)
        self._back = torch.linalg.inv(self._matrix)

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def encode(self, frames: Tensor) -> Tensor:
        return self._model.encode(frames) @ self._matrix

    def rollout(self, z: Tensor, past_actions: Tensor, candidates: Tensor) -> Tensor:
        return self._model.rollout(z @ self._back, past_actions, candidates) @ self._matrix


@contextmanager
def episodes(seed: int, quick: bool) -> Iterator[Path]:
    """A data set of 200 episodes, in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        data, n = Path(folder) / "two-room.h5", 12 if quick else 200
        steps = 40 if quick else None
        collect(CollectConfig(env=ENVIRONMENT, out=data, episodes=n, steps=steps, seed=seed))
        yield data


def learn(data: Path, lambd: float, seed: int, quick: bool) -> Path:
    """A world model with this weight of SIGReg: its run folder, beside the data."""
    run = data.parent / f"run-{lambd:g}"
    steps = 2 if quick else 1000
    train(
        WorldTrainConfig(
            data=data, out=run, preset="lewm-micro", lambd=lambd, steps=steps, seed=seed,
            batch_size=8 if quick else None, held_out=0.25, cache=data.parent / "frames",
            device="cpu",
        )
    )  # fmt: skip
    return run


def embeddings(run: Path, seed: int) -> np.ndarray:
    """Embeddings of 2,000 frames of the training episodes, (n, d)."""
    study = open_study(run, device="cpu", cache=run.parent / "frames")
    rows = sampled(np.arange(int(study.trajectories.lengths.sum())), 2000, seed=seed)
    return embed_rows(study.model, study.trajectories, rows).astype(float)


def planned(run: Path, matrices: dict[str, np.ndarray], seed: int, quick: bool) -> dict[str, float]:
    """Share of the same goals that planning reaches with the embeddings mapped by each matrix."""
    config = PlanConfig(
        run=run, recipe="ours", planner="icem", pairs=2 if quick else 60, seed=seed, device="cpu",
        goals="ahead" if quick else "walled", budget=25 if quick else 100,
    )  # fmt: skip
    control = open_control(config)
    found = {}
    for name, matrix in matrices.items():
        mapped = control._replace(model=Mapped(control.model, matrix))
        found[name] = float(success_of(mapped, seed=seed).success.mean())
    return found
