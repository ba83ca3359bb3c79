"""The same samples in a file of each format."""

import gzip
import json
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

from isojepa.embeddings.samples import Samples

X = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
"""What every file holds."""


def contents(samples: Samples) -> np.ndarray:
    """All rows, whose blocks have to say where they begin."""
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
