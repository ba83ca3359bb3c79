"""Every file that cannot be used gets one clear line."""

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.embeddings.measurement import measure
from isojepa.errors import UserError
from tests.embeddings.formats.writers import X, csv, npy


def _object_npy(path: Path) -> None:
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)


def _tensor_with_code(path: Path) -> None:
    torch.save({"x": torch.zeros(30, 2), "model": torch.nn.Linear(2, 2)}, path)


def _short_npy(path: Path) -> None:
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-100])


def _short_npz(path: Path) -> None:
    np.savez(path, x=X)
    path.write_bytes(path.read_bytes()[:200])


def _ragged(path: Path) -> None:
    pq.write_table(pa.table({"e": pa.array([[1.0, 2.0], [3.0]] * 20)}), path)


def _lists_of_lists(path: Path) -> None:
    pq.write_table(pa.table({"e": [[r[:2], r[2:]] for r in X.tolist()]}), path)


def _nulls(path: Path) -> None:
    pq.write_table(pa.table({"left": pa.array([None] * 50, pa.float64()), "right": X[:, 1]}), path)


def _two_tables(path: Path) -> None:
    torch.save([torch.from_numpy(X), torch.from_numpy(X[:9])], path)


BAD: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "object array": ("x.npy", _object_npy, "holds Python objects, where numbers are needed"),
    "complex": ("x.npy", lambda p: np.save(p, X.astype(complex)), "holds complex numbers"),
    "text": ("x.npy", lambda p: np.save(p, np.array(["a", "b"])), "holds text"),
    "three axes": ("x.npy", lambda p: np.save(p, X.reshape(5, 10, 4)), r"shape \(5, 10, 4\)"),
    "no axis": ("x.npy", lambda p: np.save(p, np.float32(3)), r"shape \(\)"),
    "no rows": ("x.npy", lambda p: np.save(p, X[:0]), "no samples"),
    "cut short": ("x.npy", _short_npy, "cut short"),
    "empty file": ("x.npy", Path.touch, "empty file"),
    "npz cut short": ("x.npz", _short_npz, "cut short"),
    "not an npz": ("x.npz", lambda p: p.write_text("hello"), "as an .npz file"),
    "pickle": ("x.pkl", lambda p: p.write_bytes(pickle.dumps(X)), "a pickle runs whatever code"),
    "pickle named pt": ("x.pt", lambda p: p.write_bytes(pickle.dumps({1})), "not written by torch"),
    "code in pt": ("x.pt", _tensor_with_code, "holds more than tensors"),
    "no tensor in pt": ("x.pt", lambda p: torch.save({"a": 1}, p), "holds no tensor"),
    "rubbish in pt": ("x.pt", lambda p: p.write_bytes(b"rubbish"), "does not begin as"),
    "rubbish in safetensors": ("x.safetensors", lambda p: p.write_bytes(b"rubbish"), "deserial"),
    "rubbish in parquet": ("x.parquet", lambda p: p.write_bytes(b"rubbish"), "cannot be read as"),
    "ragged lists": ("x.parquet", _ragged, "lists of different lengths"),
    "lists of lists": ("x.parquet", _lists_of_lists, r"e \(lists of lists\)"),
    "column of nulls": ("x.parquet", _nulls, "no cell of column left holds anything"),
    "list of two tables": ("x.pt", _two_tables, r"--key: 0 \(50, 4\), 1 \(9, 4\)"),
    "old feather": (
        "x.feather",
        lambda p: feather.write_feather(pa.table({"a": X[:, 0]}), p, version=1),
        "version 1",
    ),
    "no json": ("x.jsonl", lambda p: p.write_text('{"a": 1}\n{"a"'), "line 2 is no JSON"),
    "record": ("x.npy", lambda p: np.save(p, np.zeros(30, "f4,f4")), "holds records"),
    "dates": ("x.npy", lambda p: np.save(p, np.zeros((30, 2), "M8[s]")), "holds dates"),
    "rubbish in h5": ("x.h5", lambda p: p.write_bytes(b"rubbish"), "cannot be read as an HDF5"),
    "rubbish in mat": ("x.mat", lambda p: p.write_bytes(b"rubbish" * 99), "read as a .mat file"),
    "rubbish in feather": ("x.feather", lambda p: p.write_bytes(b"rubbish"), "read as a Feather"),
    "text only": ("x.csv", lambda p: p.write_text("a,b\nu,v\nw,x\n"), "no column of numbers"),
    "empty csv": ("x.csv", Path.touch, "empty file"),
    "blank csv": ("x.csv", lambda p: p.write_text("\n \n"), "holds no rows"),
    "header only": ("x.csv", lambda p: p.write_text("a,b\n"), "holds no rows"),
    "npy as npz": ("x.npz", lambda p: np.save(p.open("wb"), X), "an array of numpy.save"),
    "npz as pickle": ("x.npz", lambda p: p.write_bytes(pickle.dumps(X)), "a pickle, which runs"),
    "workbook as csv": ("x.csv", lambda p: p.write_bytes(b"PK\3\4" + bytes(9)), "a zip archive"),
    "pointer": ("x.pt", lambda p: p.write_text("version https://git-lfs.git"), "git lfs pull"),
    "web page": ("x.csv", lambda p: p.write_text("<!DOCTYPE html>"), "the download failed"),
    "workbook": ("x.xlsx", Path.touch, r"save the sheet as \.csv"),
    "names twice": ("x.csv", lambda p: p.write_text("a,a\n1,2\n"), "share a name"),
    "text among numbers": (
        "x.csv",
        lambda p: p.write_text("a,b\n" + "1.5,2.5\n" * 30_000 + "1.5,oops\n"),
        "oops",
    ),
    "unknown format": ("x.bin", Path.touch, "unknown format; known are .npy, .npz"),
    "folder": ("x.npy", Path.mkdir, "is a folder"),
    "missing": ("x.npy", lambda _: None, "no such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_said_in_one_line(name: str, tmp_path: Path):
    file, write, message = BAD[name]
    write(tmp_path / file)
    with pytest.raises(UserError, match=message) as caught:
        measure(open_samples(tmp_path / file))
    assert "\n" not in str(caught.value)
    assert file in str(caught.value)


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
def test_options_that_do_not_apply_are_refused(suffix: str, tmp_path: Path):
    path = npy(tmp_path / "x") if suffix == ".npy" else csv(tmp_path / "x")
    with pytest.raises(UserError, match="--key"):
        open_samples(path, key="x")
    if suffix == ".npy":
        with pytest.raises(UserError, match="--columns"):
            open_samples(path, columns=("a",))
