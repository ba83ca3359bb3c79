"""Damaged files of every format: one line for the user, never an exception of a library's."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.errors import UserError
from tests.embeddings.formats import writers as formats

WRITERS = {
    write.__name__: write
    for write in (*formats.WRITERS, formats.saved(lambda x: {"x": x, "y": [x, 3]}))
}
FEW, MANY = 6, 400


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, insert, repeat or overwrite something."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        # Headers and footers say how the rest is read: they are hit as often as all the rest.
        span = rng.choice([len(data), min(len(data), 200)])
        at = rng.randrange(span) if rng.random() < 0.5 else len(data) - 1 - rng.randrange(span)
        match rng.randrange(6):
            case 0:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at] = rng.choice([0, 0xFF, 0x80, ord("9"), ord('"'), ord(",")])
            case 2:
                del data[at : at + rng.choice([1, 7, 100])]
            case 3:
                data[at:at] = rng.randbytes(rng.choice([1, 9, 300]))
            case 4:
                data[at:at] = data[at : at + 50]
            case 5:
                del data[at:]
        if not data:
            return b""
    return bytes(data)


def read_all(path: Path) -> None:
    """As `diagnose` reads it: with memory for as many rows as announced, then all blocks."""
    samples = open_samples(path, missing=True)
    np.ones(samples.n, dtype=bool)
    for _ in samples.blocks():
        pass


def check(write: Callable[[Path], Path], seeds: range, folder: Path) -> None:
    path = write(folder / "x")
    content = path.read_bytes()
    refused = 0
    for seed in seeds:
        path.unlink()  # no file that is still mapped may change
        path.write_bytes(damaged(content, random.Random(f"{write.__name__} {seed}")))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # raw warnings would reach the screen
            try:
                read_all(path)
            except UserError as error:
                refused += 1
                if "\n" in str(error):
                    pytest.fail(f"seed {seed}: several lines: {error}")
            except Exception as error:
                pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
    assert len(seeds) < 50 or refused > 0


@pytest.mark.parametrize("name", WRITERS)
def test_only_one_line_comes_out(name: str, tmp_path: Path):
    check(WRITERS[name], range(FEW), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_only_one_line_comes_out_of_many(name: str, tmp_path: Path):
    check(WRITERS[name], range(MANY), tmp_path)
