"""Images as arrays of NumPy's own files: .npy mapped into memory, .npz too where it is not packed.

Nothing is unpickled. Of a packed array no more is unpacked than its header announces, and that has
to fit in memory.
"""

import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from isojepa.boundaries import reading, shown
from isojepa.encoders.sources.array_names import choose_arrays
from isojepa.encoders.sources.folder import UNLABELLED, Listing, indexed
from isojepa.encoders.sources.items import Joined
from isojepa.encoders.sources.named_parts import distinct
from isojepa.errors import UserError
from isojepa.files import refuse_bomb
from isojepa.pixels.items import Array, Item
from isojepa.pixels.numbers import MOST_CHANNELS
from isojepa.runs.arrays import ArrayHeader, read_array_header

WHAT = "NumPy arrays"
LOCAL_HEADER = struct.Struct("<26xHH")  # of a member of a zip file: lengths of its name and extras


class ArrayImages:
    """The images of one array."""

    def __init__(self, path: Path, name: str, values: np.ndarray) -> None:
        self.path, self.name, self.values = path, name, values

    def item(self, place: int) -> Item:
        return Array(f"{self.name}, image {place}", self.values[place])

    def home(self, _place: int) -> Path:
        """The file, with which its images change."""
        return self.path


class Images(NamedTuple):
    """One array of a file."""

    path: Path
    name: str
    """For those of its images."""
    values: np.ndarray
    labels: list[str | None]
    is_test: bool


def list_arrays(paths: Sequence[Path]) -> Listing:
    """List the images of .npy and .npz files; labels and split by the names of an .npz's arrays.

    Raises:
        UserError: for arrays of other shapes or types, or where it is not clear which holds images.
    """
    prefixes = distinct(paths)
    found = [
        images
        for prefix, path in zip(prefixes, paths)
        for images in (_npz if path.suffix.lower() == ".npz" else _npy)(path, prefix)
    ]
    counts = [len(images.values) for images in found]
    tests = [images.is_test for images in found]
    return Listing(
        paths[0] if len(paths) == 1 else paths[0].parent,
        [f"{images.name}/{i}" for images in found for i in range(len(images.values))],
        *indexed([label for images in found for label in images.labels]),
        np.repeat(tests, counts) if any(tests) and not all(tests) else None,
        source=Joined([(ArrayImages(x.path, x.name, x.values), len(x.values)) for x in found]),
    )


def _npy(path: Path, prefix: str) -> list[Images]:
    with reading(path, "an .npy file"), path.open("rb") as file:
        header = read_array_header(file)
        refuse_others(path, "", header)
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    refuse_shape(path, "", values.shape)
    return [Images(path, prefix, values, [None] * len(values), False)]


def refuse_others(path: Path, name: str, header: ArrayHeader) -> None:
    """Refuse arrays of objects, which would have to be unpickled, and of no numbers.

    Raises:
        UserError: naming the file, the array and what it holds.
    """
    where = f"--data {shown(path)}" + (f", {shown(name)}" if name else "")
    if header.dtype.hasobject:
        raise UserError(
            f"{where}: an array of objects, which would have to be unpickled: it may run any "
            "program; save one array of numbers, of images of one size"
        )
    if header.dtype.kind not in "buif":
        raise UserError(f"{where}: an array of {header.dtype}, not of numbers")


def refuse_shape(path: Path, name: str, shape: tuple[int, ...]) -> None:
    """Refuse what is no (n, h, w) or (n, h, w, c).

    Raises:
        UserError: naming the file, the array and its shape.
    """
    where = f"--data {shown(path)}" + (f", {shown(name)}" if name else "")
    if len(shape) not in (3, 4) or 0 in shape:
        raise UserError(f"{where}: an array of shape {shape}; images are (n, h, w) or (n, h, w, c)")
    if len(shape) == 4 and shape[-1] > MOST_CHANNELS:
        hint = "; transpose it with (0, 2, 3, 1)" if shape[1] <= MOST_CHANNELS else ""
        raise UserError(
            f"{where}: an array of shape {shape}: {shape[-1]} channels? They come last{hint}"
        )
    if len(shape) == 3 and shape[-1] <= 4 < min(shape[:2]):
        raise UserError(
            f"{where}: an array of shape {shape}: one image of {shape[-1]} channels? Several are "
            "(n, h, w, c); save it as a picture"
        )


def _npz(path: Path, prefix: str) -> list[Images]:
    with reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if not m.is_dir()}
        headers = {}
        for name, member in members.items():
            with archive.open(member) as file:
                headers[name] = read_array_header(file)
    chosen = choose_arrays(path, {name: (x.shape, x.dtype) for name, x in headers.items()})
    found = []
    for one in chosen:
        for name in filter(None, (one.images, one.labels, one.classes)):
            if headers[name].dtype.kind not in "US":
                refuse_others(path, name, headers[name])
        refuse_shape(path, one.images, headers[one.images].shape)
        with reading(path, "an .npz file"), zipfile.ZipFile(path) as archive:
            arrays = {
                name: _member(path, archive, members[name], headers[name])
                for name in filter(None, (one.images, one.labels, one.classes))
            }
        values = arrays[one.images]
        classes = [str(x) for x in arrays[one.classes].tolist()] if one.classes else None
        labels: list[str | None] = [None] * len(values)
        if one.labels:
            flat = arrays[one.labels].reshape(len(values)).tolist()
            labels = [_class(label, classes) for label in flat]
        name = f"{prefix}/{one.images}" if len(chosen) > 1 else prefix
        found.append(Images(path, name, values, labels, one.is_test))
    return found


def _class(label: object, classes: list[str] | None) -> str | None:
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace")
    if isinstance(label, float):
        label = int(label) if label.is_integer() else label
    if isinstance(label, int) and not isinstance(label, bool):
        if label == UNLABELLED:
            return None
        if classes is not None and label < len(classes):
            return classes[label]
    return str(label) or None


def _member(
    path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, header: ArrayHeader
) -> np.ndarray:
    """An array of an archive: mapped where it is stored as it is, else unpacked."""
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    with archive.open(member) as file:
        read_array_header(file)
        begins = file.tell()
        if member.compress_type == zipfile.ZIP_STORED and header.dtype.kind != "U":
            with path.open("rb") as whole:
                whole.seek(member.header_offset)
                before = sum(LOCAL_HEADER.unpack(whole.read(LOCAL_HEADER.size)))
            start = member.header_offset + LOCAL_HEADER.size + before + begins
            return np.memmap(path, header.dtype, "r", start, header.shape, order)
        refuse_bomb(header.nbytes, shown(member.filename))
        content = file.read(header.nbytes)
    if len(content) < header.nbytes:
        raise ValueError(f"{shown(member.filename)} is cut short")
    return np.frombuffer(content, header.dtype).reshape(header.shape, order=order)
