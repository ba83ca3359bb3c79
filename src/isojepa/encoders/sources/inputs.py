"""What `--data` names -> one listing: folders, lists, archives, tables; several of any kind, from
disks or addresses."""

import glob
import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from isojepa.boundaries import shown
from isojepa.encoders.sources.addresses import as_address
from isojepa.encoders.sources.arrays import list_arrays
from isojepa.encoders.sources.fetched import fetched, file_name
from isojepa.encoders.sources.folder import Listing, list_folder, with_label_table
from isojepa.encoders.sources.image_tables import list_tables, saved_parts
from isojepa.encoders.sources.joined import joined
from isojepa.encoders.sources.listing import is_left_by_programs, starts_as_image
from isojepa.encoders.sources.path_list import list_paths
from isojepa.encoders.sources.shards import list_shards
from isojepa.errors import UserError

Data = Path | tuple[Path, ...]
"""One place or several."""
Reader = Callable[[Sequence[Path]], Listing]
READERS: dict[str, Reader] = {
    ".txt": list_paths,
    ".lst": list_paths,
    ".tar": list_shards,
    ".npy": list_arrays,
    ".npz": list_arrays,
    **dict.fromkeys((".parquet", ".pq", ".arrow", ".feather"), list_tables),
}
"""By the ending of a file: files side by side of one kind are read as one."""
PARTS = {".tar", ".parquet", ".pq", ".arrow"}
"""Files of which a folder may be full, in place of images."""
MOST = 100_000  # files that braces may name
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


def list_images(
    data: Data, labels_csv: Path | None = None, leave_out: Iterable[Path] = ()
) -> Listing:
    """List every image of what `--data` names, with labels from it or from a table.

    Args:
        data: folders, files of the kinds that `READERS` has, and patterns of these.
        labels_csv: a table of labels, in place of those of the data.
        leave_out: files and folders below a folder that are not to be listed.

    Raises:
        UserError: if something is missing, no source of images, or holds none; or the table does
            not fit.
    """
    leave_out = [*leave_out, *([labels_csv] if labels_csv is not None else [])]
    paths = [path for place in as_sources(data) for path in expanded(place)]
    groups = itertools.groupby(_checked(paths), key=_reader)
    found: list[tuple[Path, Listing]] = []
    for reader, group in groups:
        files = list(group)
        if reader is None:
            found += [(folder, list_folder(folder, None, leave_out)) for folder in files]
        else:
            found.append((files[0], reader(files)))
    listing = found[0][1] if len(found) == 1 else joined(found)
    return listing if labels_csv is None else with_label_table(listing, labels_csv)


def expanded(place: Path) -> Sequence[Path]:
    """The files of a pattern such as shards-{000..012}.tar or part-*.parquet, those of a folder
    full of archives or tables, and those at addresses, once fetched; else the place itself.

    Raises:
        UserError: if no file is meant, or one that braces name is missing.
    """
    pattern = str(place)
    address = as_address(place)
    if address is not None:
        return fetched([_readable(one) for one in _braces(address, address)])
    if place.is_dir():
        return saved_parts(place) or parts_below(place) or [place]
    if os.path.lexists(place) or not re.search(r"[*?\[{]", pattern):
        return [place]
    paths = []
    for one in _braces(pattern, pattern):
        if not re.search(r"[*?\[]", one):
            if not Path(one).exists():
                raise UserError(f"--data {shown(pattern)}: {shown(one)}: no such file")
            paths.append(Path(one))
            continue
        paths += [Path(name) for name in sorted(glob.glob(one, recursive=True))]  # noqa: PTH207
    if not paths:
        raise UserError(f"--data {shown(pattern)}: no file is called so")
    return paths


def _readable(address: str) -> str:
    """The address itself.

    Raises:
        UserError: unless it ends as a file of images does, by which it is read.
    """
    if READERS.get(PurePosixPath(file_name(address)).suffix.lower()) in {None, list_paths}:
        known = ", ".join(end for end, reader in READERS.items() if reader is not list_paths)
        raise UserError(
            f"--data {shown(address)}: give addresses of files that end in {known}; several as "
            "part-{000..012}.tar"
        )
    return address


def parts_below(folder: Path) -> list[Path]:
    """The archives or tables of a folder that holds these and neither images nor folders."""
    with os.scandir(folder) as scan:
        entries = [entry for entry in scan if not is_left_by_programs(entry.name)]
    paths = [Path(entry.path) for entry in entries if entry.is_file()]
    parts = [path for path in paths if path.suffix.lower() in PARTS]
    others = [path for path in paths if path.suffix.lower() not in PARTS]
    if not parts or len(paths) < len(entries) or any(map(starts_as_image, others)):
        return []
    return sorted(parts)


def _braces(text: str, pattern: str) -> Iterator[str]:
    """The texts that braces stand for: {a,b} and {000..012}.

    Raises:
        UserError: if there are too many.
    """
    found = BRACES.search(text)
    if found is None:
        yield text
        return
    ends = RANGE.fullmatch(found[1])
    if ends is None:
        choices: Iterable[str] = found[1].split(",")
    else:
        first, last = sorted(map(int, ends.groups()))
        if last - first >= MOST:
            raise UserError(f"--data {shown(pattern)}: names {last - first + 1:,} files")
        choices = (str(i).zfill(len(ends[1])) for i in range(first, last + 1))
    for choice in choices:
        yield from _braces(text[: found.start()] + choice + text[found.end() :], pattern)


def as_sources(data: Data) -> tuple[Path, ...]:
    """The places that were named."""
    return data if isinstance(data, tuple) else (data,)


def single(data: Data, what: str) -> Path:
    """The one place that was named.

    Raises:
        UserError: if there are several; `what` says what is read.
    """
    if len(as_sources(data)) > 1:
        raise UserError(f"--data: {what}; join them first")
    return as_sources(data)[0]


def is_there(path: Path) -> bool:
    """Whether something lies where a place was named."""
    return path.exists() or bool(as_address(path) or re.search(r"[*?\[{]", str(path)))


def same(one: Data, other: Data) -> bool:
    """Whether both are the same places."""
    first, second = (
        [as_address(path) or path.resolve() for path in as_sources(x)] for x in (one, other)
    )
    return first == second


def absolute(data: Data) -> Data:
    """The places from the root of the file system on: a relative one means nothing elsewhere."""
    paths = tuple(path if as_address(path) else path.absolute() for path in as_sources(data))
    return paths[0] if len(paths) == 1 else paths


def words(data: Data) -> str:
    """The places for a message, as a command line has them."""
    return " ".join(shown(as_address(path) or path) for path in as_sources(data))


def _reader(path: Path) -> Reader | None:
    """What reads a place; None for folders.

    Raises:
        UserError: for a file of another kind.
    """
    if not path.is_file():
        return None
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(READERS)
        raise UserError(f"--data {shown(path)}: give a folder, or a file that ends in {known}")
    return reader


def _checked(paths: Sequence[Path]) -> Sequence[Path]:
    """The paths, none of which holds another: its images would be read twice."""
    real = [Path(os.path.realpath(path)) for path in paths]
    for i, one in enumerate(real):
        for j, other in enumerate(real):
            if i < j and one == other:
                raise UserError(f"--data {shown(paths[i])}: given twice")
            if i != j and other in one.parents:
                raise UserError(
                    f"--data {shown(paths[i])}: lies in {shown(paths[j])}, so its images would be "
                    "read twice; give one of them"
                )
    return paths
