"""Which images a folder holds, their labels and which are held out; no pixel is read here."""

import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from isojepa.errors import UserError

UNLABELLED = -1
TRAIN_FOLDERS = {"train", "training"}
TEST_FOLDERS = {"test", "testing", "val", "valid", "validation"}


class Listing(NamedTuple):
    """The files below a folder, in sorted order, with what their places and a table say of them."""

    root: Path
    names: list[str]
    """Paths relative to `root`, with forward slashes."""
    labels: Int64[np.ndarray, " n"] | None
    """Index into `class_names`, -1 where unlabelled; None when nothing is labelled."""
    class_names: list[str] | None
    test: Bool[np.ndarray, " n"] | None
    """True below a test or validation folder; None when the folder makes no such split."""

    def subset(self, keep: list[int]) -> "Listing":
        """The listing restricted to the given positions, in the given order."""
        return self._replace(
            names=[self.names[i] for i in keep],
            labels=None if self.labels is None else self.labels[keep],
            test=None if self.test is None else self.test[keep],
        )


def list_folder(root: Path, labels_csv: Path | None = None) -> Listing:
    """List every file below `root`, hidden ones apart, with labels from folders or from a table.

    A top level that is one folder per class gives labels; a top level of train and test (or val,
    validation) folders gives the split, and their sub-folders the classes. `labels_csv`, with the
    columns path and label, takes the place of the folders' labels.

    Raises:
        UserError: if the folder is missing or empty, or the table does not fit it.
    """
    if not root.is_dir():
        raise UserError(f"--data {root}: no such folder")
    names = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.resolve() != (labels_csv and labels_csv.resolve())
    )
    if not names:
        raise UserError(f"--data {root}: the folder holds no files; put images in it")
    test = _split_by_folder(names)
    if labels_csv is not None:
        return Listing(root, names, *_labels_from_csv(labels_csv, names), test)
    return Listing(root, names, *_labels_by_folder(names, depth=0 if test is None else 1), test)


def hold_out(listing: Listing, fraction: float, seed: int) -> Bool[np.ndarray, " n"]:
    """Which images are held out of training: the folder's own test split, else a fraction.

    The fraction is taken within each class, by the order of a hash of (seed, name), so that the
    choice does not depend on the order of the files nor on the machine.
    """
    if listing.test is not None:
        return listing.test
    labels = np.zeros(len(listing.names), np.int64) if listing.labels is None else listing.labels
    keys = [hashlib.sha256(f"{seed}/{name}".encode()).digest() for name in listing.names]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    held = np.zeros(len(keys), bool)
    for label in np.unique(labels):
        members = [i for i in order if labels[i] == label]
        held[members[: round(fraction * len(members))]] = True
    return held


def _split_by_folder(names: list[str]) -> np.ndarray | None:
    tops = [name.split("/")[0].lower() if "/" in name else "" for name in names]
    inside = {top for top in tops if top in TRAIN_FOLDERS | TEST_FOLDERS}
    if not inside & TRAIN_FOLDERS or not inside & TEST_FOLDERS:
        return None
    if set(tops) - inside - {""}:
        return None
    return np.array([top in TEST_FOLDERS for top in tops])


def _labels_by_folder(names: list[str], depth: int) -> tuple[np.ndarray | None, list[str] | None]:
    parts = [name.split("/") for name in names]
    classes = [p[depth] if len(p) > depth + 1 else None for p in parts]
    present = sorted({c for c in classes if c is not None})
    # A stray file beside the class folders (a README, say) is left unlabelled; many mean no classes
    if len(present) < 2 or classes.count(None) > 0.05 * len(names):
        return None, None
    index = {name: i for i, name in enumerate(present)}
    return np.array([UNLABELLED if c is None else index[c] for c in classes]), present


def _labels_from_csv(path: Path, names: list[str]) -> tuple[np.ndarray, list[str]]:
    if not path.is_file():
        raise UserError(f"--labels {path}: no such file")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--labels {path}: not a readable CSV file in UTF-8 ({error})") from error
    if not rows or any(len(row) != 2 for row in rows):
        line = next((i for i, row in enumerate(rows, 1) if len(row) != 2), 1)
        raise UserError(f"--labels {path}, line {line}: expected two columns, path and label")
    if [cell.strip().lower() for cell in rows[0]] == ["path", "label"]:
        rows = rows[1:]
    table = {Path(name.strip()).as_posix(): label.strip() for name, label in rows}
    unknown = [name for name in table if name not in set(names)]
    if unknown:
        raise UserError(
            f"--labels {path}: {len(unknown)} of {len(table)} paths are not in the data folder, "
            f"the first is {unknown[0]!r}; paths are relative to --data"
        )
    class_names = sorted(set(table.values()))
    index = {name: i for i, name in enumerate(class_names)}
    labels = [index[table[name]] if name in table else UNLABELLED for name in names]
    return np.array(labels, np.int64), class_names
