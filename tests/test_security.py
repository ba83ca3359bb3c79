"""What a user can be sent executes nothing, unpacks to no bomb, and reaches no network.

Shards of images, their links and names that lead out: encoders/sources/test_shards.py; arrays and
tables of images: test_arrays.py and test_image_tables.py beside it.
"""

import ast
import gzip
import hashlib
import io
import json
import os
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import isojepa
from isojepa import cli, machine
from isojepa.encoders.modalities import frames
from isojepa.encoders.modalities.registry import modality_of
from isojepa.encoders.sources.table_rows import LARGEST
from isojepa.errors import UserError
from isojepa.files import load_arrays
from isojepa.runs.checkpoints import Checkpoint, Damaged, load_checkpoint, save_checkpoint
from isojepa.world.episodes.formats.npz import NpzArray

MB = 1 << 20


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The folder that is there if anything was executed."""
    return tmp_path / "executed"


def bytes_of(save: Callable[[io.BytesIO], object]) -> bytes:
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def evil_contents(mark: Path) -> dict[str, bytes]:
    """The trap in each wrapping that some library would unpickle."""
    objects = np.array([Evil(mark), None], dtype=object)
    extension = {
        b"ARROW:extension:name": b"arrow.py_extension_type",
        b"ARROW:extension:metadata": pickle.dumps(Evil(mark)),
    }
    schema = pa.schema([pa.field("x", pa.float64(), metadata=extension)])
    table = pa.table([pa.array([1.0, 2.0, 3.0])], schema)
    return {
        "pickle": pickle.dumps(Evil(mark)),
        "torch": bytes_of(lambda f: torch.save({"x": Evil(mark)}, f)),
        "old torch": bytes_of(
            lambda f: torch.save([Evil(mark)], f, _use_new_zipfile_serialization=False)
        ),
        "npy": bytes_of(lambda f: np.save(f, objects, allow_pickle=True)),
        "npz": bytes_of(lambda f: np.savez(f, x=objects)),
        "parquet": bytes_of(lambda f: pq.write_table(table, f)),
    }


ONE = ("--steps", "1", "--no-evaluate", "--device", "cpu", "--out", "run")
READERS = {
    "diagnose": ["diagnose"],
    "series": ["pretrain", "--modality", "series", *ONE, "--data"],
    "tables": ["pretrain", "--modality", "tables", *ONE, "--data"],
    "images": ["pretrain", *ONE, "--data"],
    "episodes": ["world", "train", "--out", "run", "--data"],
}
ENDINGS = {
    "pickle": ("pkl", "pt", "npy", "csv"), "torch": ("pt", "npz"), "old torch": ("pt",),
    "npy": ("npy",), "npz": ("npz", "h5"), "parquet": ("parquet",),
}  # fmt: skip


@pytest.mark.parametrize("verb", READERS)
def test_no_reader_executes_what_any_file_holds(
    verb: str, mark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, content in evil_contents(mark).items():
        for ending in ENDINGS[kind]:
            path = tmp_path / f"x.{ending}"
            path.write_bytes(content)
            harmless = kind == "parquet"  # the number beside the trap is one
            assert cli.main([*READERS[verb], path.name]) == 2 or harmless, (kind, ending)
            assert not mark.exists(), (kind, ending)
            path.unlink()


def test_the_trap_would_have_worked(mark: Path) -> None:
    for kind, content in evil_contents(mark).items():
        if kind == "parquet":
            continue
        with io.BytesIO(content) as file:
            if "torch" in kind:
                torch.load(file, weights_only=False)
            else:
                loaded = np.load(file, allow_pickle=True)
                loaded["x"] if kind == "npz" else loaded
        assert mark.is_dir(), kind
        mark.rmdir()


def checkpoint(folder: Path, state: bytes) -> Path:
    """One whose checksums are right: who sends it computes them as we do."""
    path = save_checkpoint(folder, Checkpoint(1, {"w": torch.ones(2)}, {}))
    (path / "training_state.pt").write_bytes(state)
    meta = json.loads((path / "meta.json").read_text())
    meta["sha256"]["training_state.pt"] = hashlib.sha256(state).hexdigest()
    (path / "meta.json").write_text(json.dumps(meta))
    return path


@pytest.mark.parametrize("kind", ["pickle", "torch", "old torch"])
def test_a_checkpoint_executes_nothing(kind: str, mark: Path, tmp_path: Path) -> None:
    with pytest.raises(Damaged) as caught:
        load_checkpoint(checkpoint(tmp_path, evil_contents(mark)[kind]))
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def packed(path: Path, name: str, begin: bytes, size: int) -> Path:
    """An archive of which one member unpacks to so many zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(name, "w", force_zip64=True) as file,
    ):
        file.write(begin)
        for _ in range(size // MB):
            file.write(bytes(MB))
    assert path.stat().st_size < size / 100
    return path


def head(shape: tuple[int, ...], *, fortran: bool = False) -> bytes:
    kind = {"descr": "<f4", "fortran_order": fortran, "shape": shape}
    return bytes_of(lambda f: np.lib.format.write_array_header_1_0(f, kind))


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 64 MB, on which 64 MB are a bomb."""
    monkeypatch.setattr(machine, "memory_bytes", lambda: 64 * MB)


@pytest.mark.usefixtures("little")
def test_archives_of_arrays_are_no_bombs(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.npz", "x.npy", head((16 * MB // 64, 64)), 64 * MB)
    for load in (load_arrays, frames.arrays_of):
        with pytest.raises((ValueError, UserError), match="bomb"):
            load(path)
    assert frames.shape_of(path) == ((16 * MB // 64, 64), np.float32), "by the header alone"
    assert modality_of(path).name == "tables"


@pytest.mark.usefixtures("little")
def test_what_cannot_be_read_by_blocks_is_no_bomb(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = packed(tmp_path / "x.npz", "x.npy", head((MB, 16), fortran=True), 64 * MB)
    assert cli.main(["diagnose", str(path)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "bomb" in said or "memory" in said
    with pytest.raises(ValueError, match="bomb"):
        NpzArray(path, "x.npy")[0:1]


@pytest.mark.usefixtures("little")
def test_packed_tensors_are_no_bombs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = packed(tmp_path / "x.pt", "x/data.pkl", b"", 64 * MB)
    assert cli.main(["diagnose", str(path)]) == 2
    assert "bomb" in capsys.readouterr().err
    with pytest.raises(Damaged, match="bomb"):
        load_checkpoint(checkpoint(tmp_path / "run", path.read_bytes()))


@pytest.mark.usefixtures("little")
def test_tables_are_no_bombs(tmp_path: Path) -> None:
    column = pa.array(np.zeros(8 * MB))  # a run of equal cells is a few bytes
    pq.write_table(pa.table({"x": column}), tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < MB
    with pytest.raises(UserError, match="bomb"):
        frames.read_frame(tmp_path / "x.parquet")
    images = tmp_path / "images"
    images.mkdir()
    Image.new("L", (9, 9)).save(images / "a.png")
    words = ["pretrain", "--data", str(images), "--out", str(tmp_path / "run"), "--labels"]
    assert cli.main([*words, str(tmp_path / "x.parquet")]) == 2


def test_packed_labels_are_no_bombs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert LARGEST == 10**9
    monkeypatch.setattr("isojepa.encoders.sources.table_rows.LARGEST", MB)
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(bytes(4 * MB)))
    (tmp_path / "images").mkdir()
    Image.new("L", (9, 9)).save(tmp_path / "images" / "a.png")
    words = ["pretrain", "--data", str(tmp_path / "images"), "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--labels", str(tmp_path / "x.csv.gz")]) == 2
    assert "bomb" in capsys.readouterr().err


FORBIDDEN = {
    "eval",
    "exec",
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "yaml.load",
    "shelve.open",
}


def test_the_source_calls_nothing_that_executes_files() -> None:
    for path in sorted(Path(isojepa.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name, said = ast.unparse(node.func), ast.unparse(node)
            assert name not in FORBIDDEN, (path.name, said)
            assert name != "torch.load" or "weights_only=True" in said, (path.name, said)
            assert "allow_pickle=True" not in said, (path.name, said)
            assert "trust_remote_code" not in said, (path.name, said)


def test_no_verb_reaches_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(*address: object) -> None:
        asked.append(address)
        raise OSError("no network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    data, out = tmp_path / "data", tmp_path / "run"
    rng = np.random.default_rng(0)
    for i in range(24):
        (data / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(data / "ab"[i % 2] / f"{i}.png")
    quick = "--image-size 16 --batch-size 8 --steps 2 --slices 16 --device cpu --projection-dim 8"
    words = f"pretrain --data {data} --out {out} --model resnet_nano {quick}".split()
    assert cli.main(words) == 0
    assert cli.main(["embed", str(out), "--data", str(data), "--out", f"{out}/z.npz"]) == 0
    assert cli.main(["diagnose", f"{out}/z.npz"]) == 0
    assert asked == []
