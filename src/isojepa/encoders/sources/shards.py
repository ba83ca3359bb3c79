"""Pictures inside tar archives, such as WebDataset's shards, read where they stand.

Nothing is unpacked: an index of offsets, made in one pass over the headers, opens any picture at
any time. So the order of training stays a function of (seed, epoch), and a run that is gone on with
continues in the middle of an epoch.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from isojepa.boundaries import Blob, reading, reading_each, shown
from isojepa.encoders.sources.folder import Listing, indexed
from isojepa.encoders.sources.layout import read_layout
from isojepa.encoders.sources.listing import ending, image_endings, is_left_by_programs
from isojepa.encoders.sources.named_parts import distinct, held_out_by_name
from isojepa.errors import UserError
from isojepa.pixels.items import Item
from isojepa.pixels.unreadable import Unreadable

WHAT = "a tar archive"
BLOCK = 512  # bytes of a header, and what contents are filled up to
LABEL_BYTES = 2**20  # of a .cls or .json member, beyond which it holds no label
LABEL_KEYS = ("label", "cls", "class", "class_name", "category", "target")
PACKED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
}


class Member(NamedTuple):
    """A file inside an archive."""

    name: str
    offset: int
    size: int


class Shard(NamedTuple):
    """What one archive holds."""

    pictures: list[Member]
    labels: dict[str, str]
    """Label by sample: a member's name up to the first dot of its last part."""
    unreachable: list[tuple[str, str]]
    """(name, reason) of links and the like."""
    others: Counter[str]
    """Members that are no pictures, by ending."""
    notes: list[str]


class Shards:
    """The pictures of archives: each is opened by its archive and offset."""

    def __init__(
        self, paths: Sequence[Path], names: Sequence[str], where: Int64[np.ndarray, "n 3"]
    ) -> None:
        self.paths, self.names = paths, names
        self.where = where
        """Archive, offset and size of each picture."""

    def item(self, place: int) -> Item:
        archive, offset, size = self.where[place].tolist()
        path = self.paths[archive]
        with reading(path, WHAT, Unreadable), path.open("rb") as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise Unreadable(f"{shown(path)} is shorter than it was")
        return Blob(f"{path.name}/{self.names[place]}", content)

    def home(self, place: int) -> Path:
        """The archive, with which its pictures change."""
        return self.paths[int(self.where[place, 0])]


def list_shards(paths: Sequence[Path]) -> Listing:
    """List the pictures of tar archives, with labels from .cls and .json members or from folders.

    Raises:
        UserError: for an archive that is compressed, cut short or damaged, or that has a member
            whose name leads out of it; and if none holds a picture.
    """
    prefixes = distinct(paths)
    shards = [read_shard(path) for path in paths]
    inner = [member.name for shard in shards for member in shard.pictures]
    if not inner:
        what = ", ".join(f"{n} {end}" for shard in shards for end, n in shard.others.items())
        raise UserError(
            f"--data {shown(paths[0])}: no picture in {len(paths)} tar archive"
            f"{'s' if len(paths) != 1 else ''} ({what or 'nothing at all'})"
        )
    labels = [shard.labels.get(sample_of(m.name)) for shard in shards for m in shard.pictures]
    counts = [len(shard.pictures) for shard in shards]
    test, said = held_out_by_name([Path(p).stem for p in prefixes], counts)
    keep = np.ones(len(inner), bool)
    if not any(shard.labels for shard in shards):  # a folder of images, packed as it was
        layout = read_layout(inner)
        labels, keep, said = layout.classes, layout.keep, [*said, *layout.notes]
        test = layout.test if test is None else test
    kept = np.flatnonzero(keep).tolist()
    of_shard = np.repeat(np.arange(len(paths)), counts)
    where = [(m.offset, m.size) for shard in shards for m in shard.pictures]
    table = np.column_stack([of_shard, np.array(where, np.int64)])
    names = [f"{prefixes[of_shard[i]]}/{inner[i]}" for i in kept]
    others: Counter[str] = sum((shard.others for shard in shards), Counter())
    return Listing(
        paths[0] if len(paths) == 1 else paths[0].parent,
        names,
        *indexed([labels[i] for i in kept]),
        None if test is None else test[keep],
        notes=(*(note for shard in shards for note in shard.notes), *said),
        unreachable=tuple(
            (f"{prefix}/{name}", why)
            for prefix, shard in zip(prefixes, shards)
            for name, why in shard.unreachable
        ),
        side_cars=tuple(others.most_common()),
        source=Shards(paths, [inner[i] for i in kept], table[keep]),
    )


def sample_of(name: str) -> str:
    """The sample that a member belongs to, by WebDataset's rule: up to its first dot."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def read_shard(path: Path) -> Shard:
    """The index of one archive.

    Raises:
        UserError: if it is compressed, cut short or damaged, or a name leads out of it.
    """
    _refuse_packed(path)
    shard = Shard([], {}, [], Counter(), [])
    pictures: dict[str, Member] = {}
    for info, content in reading_each(path, WHAT, _members(path, shard)):
        name = _safe_name(path, info.name)
        if info.isdir() or is_left_by_programs(name.rpartition("/")[2]):
            continue
        if not info.isreg() or info.issparse():
            shard.unreachable.append((name, "a link or special file inside an archive"))
        elif content is not None:
            label = _label(name, content)
            if label is not None:
                shard.labels[sample_of(name)] = label
        elif ending(name) in image_endings():
            pictures[name] = Member(name, info.offset_data, info.size)
        else:
            shard.others[ending(name) or "without an ending"] += 1
    shard.pictures.extend(pictures.values())  # of two with one name the last counts, as in tar
    return shard


def _refuse_packed(path: Path) -> None:
    with reading(path, WHAT), path.open("rb") as file:
        start = file.read(6)
    for magic, tool in PACKED.items():
        if start.startswith(magic):
            raise UserError(
                f"{shown(path)}: a compressed archive, in which no place can be read by itself; "
                f"unpack it first (`{tool} {shown(path.name)}`)"
            )


def _members(path: Path, shard: Shard) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Each member, with its contents if these are a label.

    Raises:
        ValueError: if the archive is cut short or damaged after its first member.
    """
    size = path.stat().st_size
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            if info.isreg() and info.offset_data + info.size > size:
                raise ValueError(f"cut short within {info.name}; fetch it again")
            content = None
            if info.isreg() and info.size <= LABEL_BYTES and ending(info.name) in {".cls", ".json"}:
                file = archive.extractfile(info)
                content = None if file is None else file.read()
            yield info, content
            archive.members = []  # type: ignore[attr-defined]  # or all of them would be kept
        end = archive.offset
    with path.open("rb") as file:  # `tarfile` takes whatever it cannot read for the end
        file.seek(end)
        mark = file.read(BLOCK)
    if any(mark):
        raise ValueError(f"damaged: no header at byte {end}; fetch it again")
    if not mark:
        shard.notes.append(f"{shown(path)} has no end mark: its last images may be missing")


def _safe_name(path: Path, name: str) -> str:
    """A member's name with forward slashes, without ./ before it.

    Raises:
        UserError: if it leads out of the archive; nothing proper writes such names.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise UserError(
            f"{shown(path)}: the member '{shown(name)}' has a name that leads out of the archive; "
            "it is not read"
        )
    return str(parts)


def _label(name: str, content: bytes) -> str | None:
    """The label that a .cls or .json member gives its sample."""
    try:
        text = content.decode("utf-8").strip()
        if ending(name) == ".cls":
            return text if text and text.isprintable() else None
        values = json.loads(text)
    except (UnicodeDecodeError, ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    found = (values[key] for key in LABEL_KEYS if key in values)
    label = next((x for x in found if isinstance(x, int | str) and x != ""), None)
    return None if label is None else str(label)
