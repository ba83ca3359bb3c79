"""What `--data` names -> one listing: folders, lists of paths, several of either."""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from isojepa.boundaries import shown
from isojepa.encoders.sources.folder import Listing, list_folder, with_label_table
from isojepa.encoders.sources.joined import joined
from isojepa.encoders.sources.path_list import list_paths
from isojepa.errors import UserError

Data = Path | tuple[Path, ...]
"""One place or several."""
Reader = Callable[[Path], Listing]
READERS: dict[str, Reader] = {".txt": list_paths, ".lst": list_paths}
"""By the ending of a file."""


def list_images(
    data: Data, labels_csv: Path | None = None, leave_out: Iterable[Path] = ()
) -> Listing:
    """List every image of what `--data` names, with labels from it or from a table.

    Args:
        data: folders, or files of the kinds that `READERS` has.
        labels_csv: a table of labels, in place of those of the data.
        leave_out: files and folders below a folder that are not to be listed.

    Raises:
        UserError: if something is missing, no source of images, or holds none; or the table does
            not fit.
    """
    leave_out = [*leave_out, *([labels_csv] if labels_csv is not None else [])]
    found = [(path, _list(path, leave_out)) for path in _checked(as_sources(data))]
    listing = found[0][1] if len(found) == 1 else joined(found)
    return listing if labels_csv is None else with_label_table(listing, labels_csv)


def as_sources(data: Data) -> tuple[Path, ...]:
    """The places that were named."""
    return data if isinstance(data, tuple) else (data,)


def is_there(path: Path) -> bool:
    """Whether something lies where a place was named."""
    return path.exists()


def same(one: Data, other: Data) -> bool:
    """Whether both are the same places."""
    first, second = ([path.resolve() for path in as_sources(x)] for x in (one, other))
    return first == second


def absolute(data: Data) -> Data:
    """The places from the root of the file system on: a relative one means nothing elsewhere."""
    paths = tuple(path.absolute() for path in as_sources(data))
    return paths[0] if len(paths) == 1 else paths


def words(data: Data) -> str:
    """The places for a message, as a command line has them."""
    return " ".join(shown(path) for path in as_sources(data))


def _list(path: Path, leave_out: Sequence[Path]) -> Listing:
    reader = READERS.get(path.suffix.lower()) if path.is_file() else None
    if path.is_file() and reader is None:
        known = ", ".join(READERS)
        raise UserError(f"--data {shown(path)}: give a folder, or a file that ends in {known}")
    return list_folder(path, None, leave_out) if reader is None else reader(path)


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
