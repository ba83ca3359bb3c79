"""Every format gives the same samples, and every file that cannot be used one clear line."""

import decimal
import gzip
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather
from safetensors.torch import save_file
from scipy import io, sparse

from isojepa.embeddings.formats.open_file import open_samples
from isojepa.embeddings.measurement import measure
from isojepa.embeddings.samples import Samples, from_array
from isojepa.errors import UserError

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)


def contents(samples: Samples) -> np.ndarray:
    parts = list(samples.blocks())
    assert [start for start, _ in parts] == np.cumsum([0, *(len(b) for _, b in parts)])[
        :-1
    ].tolist()
    return np.concatenate([block for _, block in parts])


def write_csv(path: Path, x: np.ndarray, header: str | None = None, sep: str = ",") -> Path:
    lines = ([header] if header else []) + [sep.join(f"{v:.9g}" for v in row) for row in x]
    path.write_text("\n".join(lines) + "\n")
    return path


def npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), X)
    return path.with_suffix(".npy")


def fortran_npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), np.asfortranarray(X))
    return path.with_suffix(".npy")


def big_endian_npy(path: Path) -> Path:
    np.save(path.with_suffix(".npy"), X.astype(">f4"))
    return path.with_suffix(".npy")


def npz(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), x=X)
    return path.with_suffix(".npz")


def compressed_npz(path: Path) -> Path:
    names = np.array([f"{i}.png" for i in range(50)])
    np.savez_compressed(path.with_suffix(".npz"), x=X, paths=names, labels=np.arange(50))
    return path.with_suffix(".npz")


def fortran_npz(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), x=np.asfortranarray(X))
    return path.with_suffix(".npz")


def safetensors(path: Path) -> Path:
    save_file(
        {"x": torch.from_numpy(X), "labels": torch.arange(50)}, path.with_suffix(".safetensors")
    )
    return path.with_suffix(".safetensors")


def tensor(path: Path) -> Path:
    torch.save(torch.from_numpy(X), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


def legacy_tensor(path: Path) -> Path:
    torch.save(torch.from_numpy(X), path.with_suffix(".pt"), _use_new_zipfile_serialization=False)
    return path.with_suffix(".pt")


def dictionary_of_tensors(path: Path) -> Path:
    content = {"x": torch.from_numpy(X).requires_grad_(), "label": torch.arange(50), "step": 3}
    torch.save(content, path.with_suffix(".pth"))
    return path.with_suffix(".pth")


def csv(path: Path) -> Path:
    return write_csv(path.with_suffix(".csv"), X)


def csv_with_header(path: Path) -> Path:
    return write_csv(path.with_suffix(".csv"), X, "a,b,c,d")


def csv_with_semicolons(path: Path) -> Path:
    return write_csv(path.with_suffix(".csv"), X, "a;b;c;d", ";")


def csv_of_pandas(path: Path) -> Path:
    """With an index, and 0, 1, 2, 3 as names."""
    rows = [f"{i}," + ",".join(f"{v:.9g}" for v in row) for i, row in enumerate(X)]
    path.with_suffix(".csv").write_text("\n".join([",0,1,2,3", *rows]) + "\n")
    return path.with_suffix(".csv")


def parquet(path: Path) -> Path:
    pq.write_table(pa.table({f"f{i}": X[:, i] for i in range(4)}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def parquet_of_embed(path: Path) -> Path:
    """As `isojepa embed` writes it."""
    flat = pa.array(X.reshape(-1))
    columns = {
        "path": pa.array([f"{i}.png" for i in range(50)]),
        "embedding": pa.FixedSizeListArray.from_arrays(flat, 4),
    }
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"), row_group_size=17)
    return path.with_suffix(".parquet")


def parquet_of_lists(path: Path) -> Path:
    pq.write_table(pa.table({"embedding": pa.array(X.tolist())}), path.with_suffix(".parquet"))
    return path.with_suffix(".parquet")


def feather_file(path: Path) -> Path:
    feather.write_feather(
        pa.table({f"f{i}": X[:, i] for i in range(4)}), path.with_suffix(".feather")
    )
    return path.with_suffix(".feather")


def arrow_stream(path: Path) -> Path:
    table = pa.table({"embedding": pa.array(X.tolist()), "label": range(50)})
    with (
        pa.OSFile(str(path.with_suffix(".arrow")), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=17)
    return path.with_suffix(".arrow")


def json_lines(path: Path) -> Path:
    lines = [json.dumps({"id": f"{i}", "emb": row}) for i, row in enumerate(X.tolist())]
    path.with_suffix(".jsonl").write_text("\n".join(lines))
    return path.with_suffix(".jsonl")


def json_lines_of_numbers(path: Path) -> Path:
    lines = [json.dumps({"n": i, "e": dict(zip("abcd", row))}) for i, row in enumerate(X.tolist())]
    path.with_suffix(".jsonl").write_text("\n\n".join(lines) + "\n")
    return path.with_suffix(".jsonl")


def json_lines_of_lists(path: Path) -> Path:
    with gzip.open(path.with_suffix(".jsonl.gz"), "wt") as file:
        file.write("\n".join(map(json.dumps, X.tolist())))
    return path.with_suffix(".jsonl.gz")


def hdf5(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file["deep/features"] = X
        file["deep/labels"] = np.arange(50)
        file["names"] = [f"{i}.png" for i in range(50)]
    return path.with_suffix(".h5")


def mat(path: Path) -> Path:
    io.savemat(path.with_suffix(".mat"), {"x": X, "labels": np.arange(50)})
    return path.with_suffix(".mat")


def mat_of_version_7_3(path: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path.with_suffix(".mat"), "w", userblock_size=512) as file:
        file["x"] = X.T  # MATLAB's first axis is the last of HDF5
    with path.with_suffix(".mat").open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    return path.with_suffix(".mat")


def sparse_npz(path: Path) -> Path:
    sparse.save_npz(path.with_suffix(".npz"), sparse.csc_matrix(X))
    return path.with_suffix(".npz")


def npz_of_vectors(path: Path) -> Path:
    np.savez(path.with_suffix(".npz"), **{f"{i}.png": row for i, row in enumerate(X)})
    return path.with_suffix(".npz")


def saved(content: Callable[[torch.Tensor], object]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        torch.save(content(torch.from_numpy(X)), path.with_suffix(".pt"))
        return path.with_suffix(".pt")

    return write


TORCH_SAVED = {
    "nested": lambda x: {"epoch": 3, "emb": {"x": x}, "names": ["a"] * 50},
    "list of vectors": lambda x: list(x),
    "list of batches": lambda x: list(x.split(16)),
    "list of lists": lambda x: x.double().tolist(),
    "pair with labels": lambda x: (x, torch.arange(50)),
    "vectors by name": lambda x: {f"{i}.png": row for i, row in enumerate(x)},
    "sparse": lambda x: x.to_sparse(),
    "sparse rows": lambda x: x.to_sparse_csr(),
    "parameter": lambda x: torch.nn.Parameter(x),
}


WRITERS: tuple[Callable[[Path], Path], ...] = (
    npy, fortran_npy, big_endian_npy, npz, compressed_npz, fortran_npz, safetensors, tensor,
    legacy_tensor, dictionary_of_tensors, csv, csv_with_header, csv_with_semicolons, csv_of_pandas,
    parquet, parquet_of_embed, parquet_of_lists, feather_file, arrow_stream,
    json_lines, json_lines_of_numbers, json_lines_of_lists, hdf5, mat, mat_of_version_7_3,
    sparse_npz, npz_of_vectors,
)  # fmt: skip


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


def test_one_axis_is_one_dimension(tmp_path: Path):
    np.save(tmp_path / "x.npy", X[:, 0])
    samples = open_samples(tmp_path / "x.npy")
    assert (samples.n, samples.d) == (50, 1)
    np.testing.assert_array_equal(contents(samples), X[:, :1])
    assert "one dimension" in samples.notes[0]


class TestChoice:
    def test_of_an_array_by_key(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X, b=2 * X)
        np.testing.assert_array_equal(contents(open_samples(tmp_path / "x.npz", key="b")), 2 * X)

    def test_is_asked_for_if_there_are_several(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X, b=2 * X, names=np.array(["u", "v"]))
        with pytest.raises(UserError, match=r"--key: a \(50, 4\), b \(50, 4\), names \(2,\)"):
            open_samples(tmp_path / "x.npz")

    def test_of_a_key_that_is_not_there(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", a=X)
        with pytest.raises(UserError, match=r"--key z: not in .*x\.npz, which holds a"):
            open_samples(tmp_path / "x.npz", key="z")

    def test_of_the_only_table_is_said(self, tmp_path: Path):
        samples = open_samples(compressed_npz(tmp_path / "x"))
        assert samples.notes == ("Of 3 arrays, x is the only table of real numbers: it was taken.",)
        assert samples.name == "x.npz, x"

    def test_passes_objects_over_without_unpickling_them(self, tmp_path: Path):
        np.savez(tmp_path / "x.npz", x=X, names=np.array(["a", None], dtype=object))
        np.testing.assert_array_equal(contents(open_samples(tmp_path / "x.npz")), X)

    def test_of_a_column_whose_name_begins_another(self, tmp_path: Path):
        lists = pa.array(X.tolist())
        pq.write_table(pa.table({"a.b": X[:, 0], "a": lists}), tmp_path / "x.parquet")
        x = contents(open_samples(tmp_path / "x.parquet", columns=("a",)))
        np.testing.assert_array_equal(x, X)

    def test_of_columns_by_pattern(self, tmp_path: Path):
        path = write_csv(tmp_path / "x.csv", X, "emb_0,emb_1,size,emb_2")
        samples = open_samples(path, columns=("emb_*",))
        assert samples.columns == ("emb_0", "emb_1", "emb_2")
        np.testing.assert_allclose(contents(samples), X[:, [0, 1, 3]], rtol=1e-7)
        with pytest.raises(UserError, match="--columns nothing: not in"):
            open_samples(path, columns=("nothing",))

    def test_of_columns_leaves_text_and_whole_numbers_out_and_says_so(self, tmp_path: Path):
        rows = [f"{i},p{i}.png," + ",".join(f"{v:.9g}" for v in row) for i, row in enumerate(X)]
        path = tmp_path / "x.csv"
        path.write_text("\n".join(["label,path,a,b,c,d", *rows]) + "\n")
        samples = open_samples(path)
        assert samples.columns == ("a", "b", "c", "d")
        assert "Left out: label (row numbers), path (text)" in samples.notes[0]
        assert open_samples(path, columns=("label", "a")).columns == ("label", "a")
        with pytest.raises(UserError, match=r"path of .* holds no numbers"):
            open_samples(path, columns=("path",))

    def test_of_whole_numbers_if_there_is_nothing_else(self, tmp_path: Path):
        write_csv(tmp_path / "x.csv", (10 * X).astype(int), "a,b,c,d")
        assert open_samples(tmp_path / "x.csv").d == 4

    def test_of_decimals(self, tmp_path: Path):
        exact = [decimal.Decimal(f"{v:.4f}") for v in X[:, 0]]
        pq.write_table(pa.table({"a": exact, "b": X[:, 1]}), tmp_path / "x.parquet")
        x = contents(open_samples(tmp_path / "x.parquet"))
        np.testing.assert_allclose(x, X[:, :2], atol=6e-5)

    def test_of_lists_among_columns(self, tmp_path: Path):
        samples = open_samples(parquet_of_embed(tmp_path / "x"))
        assert "embedding" in samples.notes[0]


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


class TestRowsThatAreNotFinite:
    def broken(self) -> np.ndarray:
        x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
        x[70, 1], x[30, 2], x[31] = np.nan, np.inf, np.nan
        return x

    def test_are_refused_with_their_count_and_the_first(self):
        with pytest.raises(UserError, match=r"3 of 200 rows hold NaN.* row 30; --drop-nonfinite"):
            measure(from_array(self.broken()), n_null=19)

    def test_are_left_out_if_asked_for(self):
        found = measure(from_array(self.broken()), drop_nonfinite=True, n_null=19)
        rest = np.delete(self.broken(), [30, 31, 70], axis=0)
        assert found.rows.moments.n == 197
        np.testing.assert_allclose(found.rows.moments.mean, rest.mean(0), rtol=1e-4)
        assert not {30, 31, 70} & set(found.rows.sample_rows.tolist())

    def test_keep_the_numbers_of_the_others(self):
        x = self.broken()
        x[150] = 40
        found = measure(from_array(x), drop_nonfinite=True, n_null=19)
        assert list(found.outliers) == [150]

    def test_in_a_table_are_cells_without_a_number(self, tmp_path: Path):
        path = tmp_path / "x.csv"
        path.write_text("a,b\n" + "1.5,2.5\n" * 10 + "1.5,\n" + "0.5,2.5\n" * 20)
        with pytest.raises(UserError, match=r"1 of 31 rows .* row 10"):
            measure(open_samples(path))

    def test_only(self):
        with pytest.raises(UserError, match="0 usable rows"):
            measure(from_array(np.full((30, 2), np.nan)), drop_nonfinite=True)


def test_too_few_rows_are_refused():
    with pytest.raises(UserError, match=r"19 rows say little .* at least 20"):
        measure(from_array(X[:19]))
