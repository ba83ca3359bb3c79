"""NumPy's files of images: mapped, unpacked within bounds, never unpickled."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from isojepa import machine
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.inputs import list_images
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_header, read_square
from tests.encoders.sources.pictures import pixels


def images(n: int = 6) -> np.ndarray:
    return np.stack([pixels(i) for i in range(n)])


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("write", [np.savez, np.savez_compressed, np.save])
def test_images_come_back_as_they_were(tmp_path: Path, write: Any, order: str) -> None:
    made = np.asarray(np.stack([images(), 255 - images(), images() // 2], -1), order=order)
    if write is np.save:
        np.save(tmp_path / "x.npy", made)
    else:
        write(tmp_path / "x.npz", images=made, labels=np.arange(6) % 2, other=np.ones(3))
    listing = list_images(next(tmp_path.iterdir()))
    assert listing.names == [f"{next(tmp_path.iterdir()).name}/{i}" for i in range(6)]
    for i in (5, 0, 3):
        np.testing.assert_array_equal(listing.item(i).values, made[i])
        square = read_square(listing.item(i), 20, 3)
        np.testing.assert_array_equal(square.pixels, np.moveaxis(made[i], -1, 0))
    if write is not np.save:
        assert listing.labels.tolist() == [0, 1] * 3


def test_arrays_are_mapped_not_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=images())
    np.save(tmp_path / "y.npy", images())
    for name in ("x.npz", "y.npy"):
        source = list_images(tmp_path / name).source.sources[0]
        assert isinstance(source.values, np.memmap)


def test_equal_images_have_equal_prints_in_any_file(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", images()[::-1])
    np.save(tmp_path / "y.npy", images())
    one, other = (with_fingerprints(list_images(tmp_path / x)).prints for x in ("x.npz", "y.npy"))
    np.testing.assert_array_equal(one[::-1], other)
    assert len(set(other.tolist())) == 6


def test_named_parts_are_the_split(tmp_path: Path) -> None:
    """As Keras writes MNIST, and as MedMNIST names its arrays."""
    y = np.array(["a", "b"] * 3)
    np.savez(tmp_path / "keras.npz", x_train=images(), y_train=y, x_test=images(4), y_test=y[:4])
    listing = list_images(tmp_path / "keras.npz")
    assert listing.test.tolist() == [False] * 6 + [True] * 4
    assert listing.class_names == ["a", "b"]
    assert listing.names[7] == "keras.npz/x_test/1"
    parts = {}
    for part, n in (("train", 6), ("val", 3), ("test", 4)):
        parts |= {f"{part}_images": images(n), f"{part}_labels": np.arange(n)[:, None] % 2}
    np.savez(tmp_path / "med.npz", **parts)
    listing = list_images(tmp_path / "med.npz")
    assert listing.test.tolist() == [False] * 6 + [True] * 7
    assert listing.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1]


def test_class_names_name_the_labels(tmp_path: Path) -> None:
    names = np.array(["owl", "fox"])
    np.savez(tmp_path / "x.npz", images=images(3), labels=[0, 1, -1], class_names=names)
    listing = list_images(tmp_path / "x.npz")
    assert listing.class_names == ["fox", "owl"]
    assert listing.labels.tolist() == [1, 0, -1]


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


RAGGED = np.empty(2, object)
RAGGED[:] = [np.zeros((2, 2)), np.zeros((3, 3))]
REFUSED = {
    "table.npy": (npy(np.zeros((9, 4))), r"shape \(9, 4\); images are"),
    "ragged.npy": (npy(RAGGED, allow_pickle=True), "array of objects.*unpickled"),
    "ragged.npz": (npz(images=RAGGED), r"no array of images.*objects are not read"),
    "text.npy": (npy(np.array([[["a"]]])), "array of <U1, not of numbers"),
    "complex.npy": (npy(np.zeros((2, 2, 2), complex)), "complex128, not of numbers"),
    "first.npy": (npy(np.zeros((9, 3, 80, 80), np.uint8)), r"80 channels\? .*\(0, 2, 3, 1\)"),
    "one.npy": (npy(np.zeros((80, 80, 3), np.uint8)), r"one image of 3 channels\?"),
    "none.npy": (npy(np.zeros((0, 8, 8), np.uint8)), r"shape \(0, 8, 8\)"),
    "cut.npy": (npy(images())[:-9], "cut.npy: cannot be read as an .npy file"),
    "cut.npz": (npz(images=images())[:-9], "cut.npz: cannot be read as an .npz file"),
    "several.npz": (npz(a=images(), b=images()), r"several arrays of images \(a, b\)"),
    "labels.npz": (npz(y=np.arange(9)), r"no array of images.*y: \(9,\) int64"),
    "empty.npz": (npz(), "no array of images"),
    "pickle.npy": (pickle.dumps([1, 2]), "cannot be read as an .npy file"),
    "words.npy": (b"words", "cannot be read as an .npy file"),
    "empty.npy": (b"", "empty file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_arrays_are_refused_in_a_line(tmp_path: Path, name: str) -> None:
    content, words = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        list_images(tmp_path / name)
    assert "\n" not in str(caught.value)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_pickles_inside_arrays_are_never_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    evil = np.empty((1, 2, 2), object)
    evil[:] = Evil(mark)
    content = npy(evil, allow_pickle=True)
    (tmp_path / "x.npy").write_bytes(content)
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Evil(mark)))
    for name, member in (("x.npz", "images.npy"), ("labels.npz", "labels.npy")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr(member, content)
            archive.writestr("x.npy", npy(images(1)))
    for name in ("x.npy", "raw.npy"):
        with pytest.raises(UserError):
            list_images(tmp_path / name)
    for name in ("x.npz", "labels.npz"):  # the array of numbers is read, that of objects is not
        try:
            found = list_images(tmp_path / name)
        except UserError:
            continue
        assert found.labels is None
    assert not mark.exists()
    np.load(tmp_path / "x.npy", allow_pickle=True)
    assert mark.exists()  # the trap would have worked


def bomb(path: Path, shape: tuple[int, ...], written: int) -> Path:
    """A packed array of zeros whose header announces another size than is written."""
    header = io.BytesIO()
    kind = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w", force_zip64=True) as file,
    ):
        file.write(header.getvalue())
        for _ in range(written >> 20):
            file.write(bytes(1 << 20))
    return path


def test_archive_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 32 << 20)
    large = bomb(tmp_path / "large.npz", (64, 1024, 1024), 64 << 20)
    assert large.stat().st_size < 1 << 20
    with pytest.raises(UserError, match=r"takes 0\.1 GB unpacked.*bomb"):
        list_images(large)
    endless = bomb(tmp_path / "endless.npz", (2, 8, 8), 64 << 20)
    assert len(list_images(endless).names) == 2  # what follows the array is not unpacked
    with pytest.raises(UserError, match="cut short"):
        list_images(bomb(tmp_path / "cut.npz", (8, 1024, 1024), 1 << 20))


VALUES = {
    "uint8": (np.uint8, 3, False), "uint16": (np.uint16, 1, False), "int16": (np.int16, 1, True),
    "uint16 x 5": (np.uint16, 5, True), "float32": (np.float32, 1, True),
    "uint8 x 4": (np.uint8, 4, False),
    ">u2": (">u2", 1, False), "float64": (np.float64, 3, True), "bool": (bool, 1, False),
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_headers_of_arrays(tmp_path: Path, kind: str) -> None:
    dtype, channels, ranged = VALUES[kind]
    values = np.random.default_rng(0).integers(
        -9 if kind == "int16" else 0, 99, (3, 6, 8, channels)
    )
    np.save(tmp_path / "x.npy", values.astype(dtype))
    header = read_header(list_images(tmp_path / "x.npy").item(1))
    assert header == (6, channels, ranged)
