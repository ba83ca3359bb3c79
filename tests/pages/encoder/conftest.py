"""Synthetic run folders, made of the scikit-learn digits, in the format that training writes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from tests.pages.encoder.made_runs import HOSTILE, MakeRun

N, D, K, STEPS = 300, 32, 16, 200


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """Thumbnails, labels, and what a good encoder and projector would make of them."""
    data = load_digits()
    chosen = np.random.default_rng(0).permutation(len(data.images))[:N]
    x, y = data.data[chosen], data.target[chosen].astype(np.int64)
    rng = np.random.default_rng(1)
    classes = LinearDiscriminantAnalysis().fit(x, y).transform(x)
    details = PCA(D - classes.shape[1], whiten=True, random_state=0).fit_transform(x)
    embeddings = np.concatenate([classes, 0.5 * details], axis=1)
    projections = PCA(K, whiten=True, random_state=0).fit_transform(x)
    pixels = (data.images[chosen] * 255 / 16).astype(np.uint8)
    return {
        "thumbnails": np.kron(pixels, np.ones((2, 2), np.uint8))[..., None],
        "embeddings": (embeddings + 0.1 * rng.standard_normal(embeddings.shape)).astype("float32"),
        "projections": projections.astype(np.float32),
        "labels": y,
    }


@pytest.fixture(scope="session")
def make_run(digits: dict[str, np.ndarray]) -> MakeRun:
    """A function that writes a run folder: healthy, or collapsed as with lambda 0, or hostile."""

    def make(
        path: Path, *, collapsed: bool = False, hostile: bool = False, sample: bool = True
    ) -> Path:
        path.mkdir(parents=True, exist_ok=True)
        names = [f"{i}" for i in range(10)]
        paths = [f"digits/{y}/{i:04d}.png" for i, y in enumerate(digits["labels"])]
        if hostile:
            names, paths = [f"{HOSTILE}{n}" for n in names], [f"{HOSTILE}{p}" for p in paths]
        shrink = np.float32(0.003 if collapsed else 1)
        if sample:
            np.savez(
                path / "sample.npz",
                **(digits | {key: digits[key] * shrink for key in ("embeddings", "projections")}),
                paths=np.array(paths),
                class_names=np.array(names),
            )
        write_json(path / "config.json", _config(collapsed, hostile))
        write_json(path / "scores.json", _scores(collapsed))
        lines = (json.dumps(metrics) for metrics in _metrics(collapsed))
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        reason = HOSTILE if hostile else "cannot identify image file"
        (path / "skipped.tsv").write_text(f"path\treason\ndigits/broken.png\t{reason}\n")
        Image.fromarray(digits["thumbnails"][:36, :, :, 0].reshape(-1, 16)).save(path / "views.png")
        return path

    return make


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def _config(collapsed: bool, hostile: bool) -> dict[str, Any]:
    lambd = 0 if collapsed else 0.05
    return {
        "config": {"data": "digits", "model": HOSTILE if hostile else "resnet18", "lambd": lambd,
                   "slices": 256, "knots": 17, "t_max": 3.0, "batch_size": 128, "steps": STEPS,
                   "seed": 0},
        "command": f"isojepa pretrain --data digits --lambd {lambd}" + (HOSTILE if hostile else ""),
        "versions": {"isojepa": "0.1.0", "torch": "2.15.0", "python": "3.11.7"},
        "data": {"images": 1797, "skipped": 1, "classes": None, "train": 1258, "test": 539,
                 "image_size": 16, "channels": 1},
        "hardware": "CPU, 2 threads", "started": "2026-11-22T10:14:03+00:00", "seconds": 43.1,
    }  # fmt: skip


def _scores(collapsed: bool) -> dict[str, Any]:
    accuracies = {"encoder": 0.62 if collapsed else 0.98, "untrained": 0.9, "pca": 0.95,
                  "pixels": 0.96}  # fmt: skip
    return {
        name: {
            "linear": a, "knn": a - 0.01, "kernel": a + 0.005, "n_train": 1258, "n_test": 539,
            "shots": {s: {"mean": a - d, "interval": [a - d - 0.02, a - d + 0.02]}
                      for s, d in (("1", 0.3), ("5", 0.1), ("10", 0.05))},
        }
        for name, a in accuracies.items()
    }  # fmt: skip


def _metrics(collapsed: bool) -> list[dict[str, Any]]:
    rng = np.random.default_rng(2)
    rows = []
    for step in range(1, STEPS + 1):
        noise, done = 1 + 0.03 * rng.standard_normal(), step / STEPS
        if collapsed:
            invariance, sigreg = 0.1 * noise * np.exp(-15 * min(done, 0.6)), 51.5
        else:
            settled = np.exp(-10 * done)
            invariance, sigreg = noise * (0.1 + 0.3 * settled), noise * (1.3 + 30 * settled)
        lambd = 0 if collapsed else 0.05
        rows.append(
            {"step": step, "epoch": step / 10, "lr": 1e-3 * (1 - done), "images_per_second": 900.0,
             "loss": (1 - lambd) * invariance + lambd * sigreg, "invariance": invariance,
             "sigreg": sigreg, "grad_norm": 0.3}
        )  # fmt: skip
        if step % 20 == 0:
            rank = 1 + 9 * np.exp(-9 * done) if collapsed else 14 - 6 * np.exp(-5 * done)
            accuracy = 0.6 if collapsed else 0.97 - 0.2 * np.exp(-20 * done)
            rows[-1] |= {"effective_rank": rank, "probe_accuracy": accuracy,
                         "knn_accuracy": accuracy - 0.01}  # fmt: skip
    return rows
