"""The record of a run's images: which it was trained on, which it held out, and their contents.

It is written once, when a run begins (RUN/held_out.tsv), and everything that has to know what the
encoder has seen reads it: resuming, scores, embeddings. An image is the run's own by its contents,
wherever it lies and whatever it is called.
"""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from isojepa.boundaries import shown
from isojepa.encoders.sources.fingerprints import UNREADABLE
from isojepa.encoders.sources.folder import UNLABELLED, Listing
from isojepa.errors import UserError
from isojepa.runs.tables import read_rows, write_rows

FILE = "held_out.tsv"
COLUMNS = ("part", "fingerprint", "label", "path")
PARTS = ("train", "held out")


class HeldOut(NamedTuple):
    """The images of a run, in the order in which it knows them."""

    names: list[str]
    labels: list[str | None]
    held_out: Bool[np.ndarray, " n"]
    prints: UInt64[np.ndarray, " n"]


def record_of(listing: Listing, held_out: Bool[np.ndarray, " n"]) -> HeldOut:
    """The record of a listing whose fingerprints were taken."""
    assert listing.prints is not None
    return HeldOut(listing.names, label_names(listing), held_out, listing.prints)


def label_names(listing: Listing) -> list[str | None]:
    """The name of each image's class, None where unlabelled."""
    if listing.labels is None or listing.class_names is None:
        return [None] * len(listing.names)
    names = listing.class_names
    return [None if label == UNLABELLED else names[label] for label in listing.labels]


def write_held_out(run: Path, record: HeldOut) -> None:
    """Write RUN/held_out.tsv, whole or not at all."""
    rows = (
        (PARTS[held], f"{mark:016x}", label or "", name)
        for name, label, held, mark in zip(
            record.names,
            record.labels,
            record.held_out.astype(int).tolist(),
            record.prints.tolist(),
            strict=True,
        )
    )
    write_rows(run / FILE, COLUMNS, rows)


def read_held_out(run: Path) -> HeldOut | None:
    """What a run was trained on and held out; None for runs that did not record it.

    Raises:
        UserError: if the file is damaged.
    """
    if not (run / FILE).is_file():
        return None
    rows = read_rows(run / FILE)
    try:
        return HeldOut(
            [row[3] for row in rows],
            [row[2] or None for row in rows],
            np.array([PARTS.index(row[0]) for row in rows], bool),
            np.array([int(row[1], 16) for row in rows], np.uint64),
        )
    except (IndexError, ValueError) as error:
        raise UserError(f"{shown(run / FILE)}: damaged ({error})") from error


class Recognised(NamedTuple):
    """The images of a listing, as a run knows them."""

    places: Int64[np.ndarray, " n"]
    """Position in the record, -1 for images that the run has not had."""
    held_out: Bool[np.ndarray, " n"]
    """Held out by the run; False for new ones too."""
    by_content: Bool[np.ndarray, " n"]
    """Known by their contents; the others that have a place have a known name only."""
    moved: int
    """Known by their contents under another name."""
    changed: list[str]
    """Names that the run knows, with other contents."""
    new: list[str]
    missing: list[str]
    """Names in the record of which neither name nor contents are there."""

    @property
    def trained_on(self) -> Bool[np.ndarray, " n"]:
        return (self.places >= 0) & ~self.held_out


def recognise(record: HeldOut, listing: Listing) -> Recognised:
    """Find each image of a listing, whose fingerprints were taken, in a run's record.

    Contents come before names. Contents that lie on both sides of the run's split, under a name
    that it does not know, count as trained on.
    """
    assert listing.prints is not None
    marks, known = listing.prints.tolist(), record.prints.tolist()
    by_name = {name: j for j, name in enumerate(record.names)}
    by_content: dict[int, list[int]] = defaultdict(list)
    for j in np.argsort(record.held_out, kind="stable").tolist():  # trained on first
        by_content[known[j]].append(j)
    places = np.full(len(marks), -1, np.int64)
    same = np.zeros(len(marks), bool)
    moved, changed, new = 0, [], []
    for i, (name, mark) in enumerate(zip(listing.names, marks, strict=True)):
        j = by_name.get(name)
        if j is not None and known[j] == mark:
            same[i] = True
        elif mark != UNREADABLE and mark in by_content:
            j = by_content[mark][0]
            same[i] = True
            moved += 1
        elif j is not None:
            changed.append(name)
        else:
            new.append(name)
            continue
        places[i] = j
    here, present = set(listing.names), set(marks)
    missing = [
        name
        for name, mark in zip(record.names, known, strict=True)
        if mark not in present and name not in here
    ]
    held = np.zeros(len(marks), bool)
    held[places >= 0] = record.held_out[places[places >= 0]]
    return Recognised(places, held, same, moved, changed, new, missing)


def repeated(record: HeldOut) -> int:
    """Held-out images whose contents, byte for byte, are those of an image trained on."""
    return int(np.isin(record.prints[record.held_out], record.prints[~record.held_out]).sum())
