"""Cells of tables of text, and columns to put beside them."""

from pathlib import Path

import numpy as np

from isojepa.embeddings.samples import Samples

N, D = 60, 8
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).round(4)
CELLS = [[f"{v:.4f}" for v in row] for row in X]
LABELS = [str(v) for v in RNG.integers(0, 10, N)]


def read(samples: Samples) -> np.ndarray:
    return np.concatenate([block for _, block in samples.blocks()])


def write(path: Path, rows: list[list[str]], head: str | None = None, sep: str = ",") -> Path:
    lines = ([head] if head is not None else []) + [sep.join(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def first(column: list[str], cells: list[list[str]] = CELLS) -> list[list[str]]:
    return [[value, *row] for value, row in zip(column, cells)]


def last(column: list[str], cells: list[list[str]] = CELLS) -> list[list[str]]:
    return [[*row, value] for value, row in zip(column, cells)]


PATHS = [f"img/{i:03} a.png" for i in range(N)]
DIGITS = ",".join(map(str, range(D)))
LETTERS = "a,b,c,d,e,f,g,h"
COMMAS = [[v.replace(".", ",") for v in row] for row in CELLS]
