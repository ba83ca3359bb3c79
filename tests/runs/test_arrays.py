"""Arrays of a file have the types and shapes that a named tuple says, or are named."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from jaxtyping import Float, UInt8

from isojepa.errors import UserError
from isojepa.runs.arrays import read_arrays
from isojepa.runs.folder import save_arrays


class Pair(NamedTuple):
    z: Float[np.ndarray, "n d"]
    frames: UInt8[np.ndarray, "n y x c"]
    more: Float[np.ndarray, " d"] | None = None


FITS = {"z": np.zeros((3, 2), np.float32), "frames": np.zeros((3, 4, 4, 1), np.uint8)}


@pytest.mark.parametrize("more", [{}, {"more": np.ones(2)}, {"other": np.zeros(9)}])
def test_arrays_are_given_back(more: dict[str, np.ndarray], tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", **FITS, **more)
    found = read_arrays(Pair, tmp_path / "a.npz")
    np.testing.assert_array_equal(found.z, FITS["z"])
    assert (found.more is None) == ("more" not in more)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"z": np.zeros((3, 2), int)}, "z is of int64"),
        ({"z": np.zeros(3)}, r"z is of float64, shape \(3,\)"),
        ({"frames": np.zeros((2, 4, 4, 1), np.uint8)}, r"frames is .* \(2, 4, 4, 1\)"),
        ({"more": np.zeros(3)}, "more is"),
        ({"frames": None}, "frames is missing"),
    ],
)
def test_what_does_not_fit_is_named(
    changes: dict[str, np.ndarray | None], words: str, tmp_path: Path
) -> None:
    arrays = {name: a for name, a in {**FITS, **changes}.items() if a is not None}
    save_arrays(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=rf"a\.npz: damaged \({words}"):
        read_arrays(Pair, tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"PK", b"", b"\x93NUMPY"])
def test_what_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: cannot be read as arrays"):
        read_arrays(Pair, tmp_path / "a.npz")
