"""Every format gives the same samples."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from isojepa.embeddings.formats.open_file import open_samples
from tests.embeddings.formats.writers import TORCH_SAVED, WRITERS, X, contents, saved


@pytest.mark.parametrize("elements", [4, 60, 10**6])
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_all_formats_hold_the_same_samples(
    write: Callable[[Path], Path], elements: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("isojepa.embeddings.samples.BLOCK_ELEMENTS", elements)
    samples = open_samples(write(tmp_path / "x"))
    assert (samples.n, samples.d) == X.shape
    for _ in range(2):  # every pass starts again
        np.testing.assert_allclose(contents(samples), X, rtol=1e-7)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_names_that_are_no_text_are_read(write: Callable[[Path], Path], tmp_path: Path):
    path = write(tmp_path / "x")
    odd = tmp_path / (os.fsdecode(b"caf\xe9") + "".join(path.suffixes))
    path.rename(odd)
    samples = open_samples(odd)
    assert samples.name.startswith(r"caf\xe9.")
    np.testing.assert_allclose(contents(samples), X, rtol=1e-7)


@pytest.mark.parametrize("name", TORCH_SAVED)
def test_tensors_are_found_wherever_they_are(name: str, tmp_path: Path):
    samples = open_samples(saved(TORCH_SAVED[name])(tmp_path / "x"))
    np.testing.assert_allclose(contents(samples), X, rtol=1e-6)


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "bfloat16"])
def test_real_types_that_numpy_lacks_are_read(kind: str, tmp_path: Path):
    x = torch.from_numpy(X).to(getattr(torch, kind))
    save_file({"x": x}, tmp_path / "x.safetensors")
    torch.save(x, tmp_path / "x.pt")
    for name in ("x.safetensors", "x.pt"):
        samples = open_samples(tmp_path / name)
        np.testing.assert_array_equal(contents(samples), x.float())
        assert any(kind in note for note in samples.notes) == (kind != "bfloat16")


@pytest.mark.parametrize("kind", ["float16", "float64", "int8", "int64", "uint8", "bool"])
def test_all_real_numbers_are_read(kind: str, tmp_path: Path):
    x = (10 * X).astype(kind)
    np.save(tmp_path / "x.npy", x)
    samples = open_samples(tmp_path / "x.npy")
    np.testing.assert_array_equal(contents(samples), x.astype(np.float64))
    assert contents(samples).dtype in (np.float32, np.float64)
    assert any(kind in note for note in samples.notes) == (not kind.startswith("float"))
