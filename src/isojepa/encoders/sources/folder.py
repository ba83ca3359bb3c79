"""Which images there are, their labels and which are held out; no pixel is read here."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt64

from isojepa.boundaries import shown
from isojepa.encoders.sources.items import Files, ItemSource, home_of
from isojepa.encoders.sources.label_table import read_label_table
from isojepa.encoders.sources.layout import read_layout
from isojepa.encoders.sources.listing import remarks, walk
from isojepa.errors import UserError
from isojepa.pixels.items import Item

UNLABELLED = -1


class Listing(NamedTuple):
    """The images of a source, in an order that stays, with what their places and a table say."""

    root: Path
    """The folder, or what else was named, for messages."""
    names: list[str]
    """One for each image: paths relative to `root`, with forward slashes, and the like."""
    labels: Int64[np.ndarray, " n"] | None
    """Index into `class_names`, -1 where unlabelled; None when nothing is labelled."""
    class_names: list[str] | None
    test: Bool[np.ndarray, " n"] | None
    """True below a test or validation folder; None when the folder makes no such split."""
    prints: UInt64[np.ndarray, " n"] | None = None
    """Fingerprints of the contents (`fingerprints.py`); None before they are taken."""
    changed: Int64[np.ndarray, " n"] | None = None
    """When files changed of which fingerprints do not see all (in ns since 1970), 0 of others."""
    notes: tuple[str, ...] = ()
    """What a user should know of the folder and of the table, a line each."""
    unreachable: tuple[tuple[str, str], ...] = ()
    """(name, reason) of broken links and of folders that cannot be opened."""
    side_cars: tuple[tuple[str, int], ...] = ()
    """(ending, count) of the files that are no images."""
    source: ItemSource | None = None
    """What opens the images; None where they are the files below `root`."""
    places: Int64[np.ndarray, " n"] | None = None
    """Of the images in the source; None where they are all of it, in its order."""
    files: Int64[np.ndarray, " n"] | None = None
    """Number of the file of which an image is a page; None where each is one of its own."""

    def item(self, i: int) -> Item:
        """What image `i` is decoded from.

        Raises:
            Unreadable: if it cannot be had.
        """
        if self.source is None:
            return self.root / self.names[i]
        return self.source.item(i if self.places is None else int(self.places[i]))

    def opener(self) -> ItemSource:
        """What opens the images, with those of this listing in their order, one for each."""
        if self.source is None:
            return Files([self.root / name for name in self.names])
        return self.source if self.places is None else Chosen(self.source, self.places)

    def subset(self, keep: list[int]) -> "Listing":
        """The listing restricted to the given positions, in the given order."""
        return self._replace(
            names=[self.names[i] for i in keep],
            labels=None if self.labels is None else self.labels[keep],
            test=None if self.test is None else self.test[keep],
            prints=None if self.prints is None else self.prints[keep],
            places=np.array(keep, np.int64) if self.places is None else self.places[keep],
            changed=None if self.changed is None else self.changed[keep],
            files=None if self.files is None else self.files[keep],
        )


class Chosen:
    """Some places of a source."""

    def __init__(self, source: ItemSource, places: Int64[np.ndarray, " n"]) -> None:
        self.source, self.places = source, places

    def item(self, place: int) -> Item:
        return self.source.item(int(self.places[place]))

    def home(self, place: int) -> Path | None:
        return home_of(self.source, int(self.places[place]))


def list_folder(
    root: Path, labels_csv: Path | None = None, leave_out: Iterable[Path] = ()
) -> Listing:
    """List every image below `root`, with labels from folders or from a table.

    A top level that is one folder per class gives labels; train and test folders (`roles.py` has
    their names) give the split, and their sub-folders the classes. A table takes the place of the
    folders' labels. Hidden files, what systems leave behind, files that are no images and the
    folders of runs are not listed.

    Args:
        leave_out: files and folders not to list, such as what the caller will write.

    Raises:
        UserError: if the folder is missing or holds no images, or the table does not fit it.
    """
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise UserError(f"--data {shown(root)}: {what}")
    found = walk(root, [*leave_out, *([labels_csv] if labels_csv is not None else [])])
    said = list(remarks(found))
    if not found.names:
        more = f" ({'; '.join(said)})" if said else ""
        raise UserError(
            f"--data {shown(root)}: the folder holds no files that are images{more}; "
            "put images in it"
        )
    layout = read_layout(found.names)
    keep = np.flatnonzero(layout.keep).tolist()
    listing = Listing(
        root,
        [found.names[i] for i in keep],
        *indexed([layout.classes[i] for i in keep]),
        None if layout.test is None else layout.test[layout.keep],
        notes=(*said, *layout.notes),
        unreachable=tuple(found.unreachable),
        side_cars=tuple(found.side_cars.items()),
    )
    return listing if labels_csv is None else with_label_table(listing, labels_csv)


def with_label_table(listing: Listing, path: Path) -> Listing:
    """The listing with the labels of a table in place of its own.

    Raises:
        UserError: if the table does not fit it.
    """
    table = read_label_table(path, listing.names, listing.root)
    labels, class_names = indexed(table.labels)
    notes = (*listing.notes, *table.notes)
    return listing._replace(labels=labels, class_names=class_names, notes=notes)


def indexed(labels: list[str | None]) -> tuple[Int64[np.ndarray, " n"] | None, list[str] | None]:
    """Class names as positions in their sorted list, -1 for None; (None, None) without any."""
    class_names = sorted({label for label in labels if label is not None})
    if not class_names:
        return None, None
    index: dict[str | None, int] = {name: i for i, name in enumerate(class_names)}
    index[None] = UNLABELLED
    return np.array([index[label] for label in labels], np.int64), class_names


def hold_out(
    listing: Listing, fraction: float, seed: int, *, pooled: bool = True
) -> Bool[np.ndarray, " n"]:
    """Which images are held out of training: the folder's own test split, else a fraction.

    The fraction is taken within each class, by the order of a hash of (seed, name), so that the
    choice does not depend on the order of the files nor on the machine. Classes too small for
    that share one fraction among them; a class is never held out whole. Where the folder's test
    split is unlabelled and the rest is labelled, the fraction is held out as well.

    Args:
        pooled: False as runs did before they stored what they held out: a class too small gives
            none, and an unlabelled test split is all.
    """
    n = len(listing.names)
    if listing.files is not None:  # pages of one file are much alike: on one side, all of them
        _, first, file = np.unique(listing.files, return_index=True, return_inverse=True)
        whole = listing.subset(first.tolist())._replace(files=None)
        return hold_out(whole, fraction, seed, pooled=pooled)[file]
    if listing.test is not None:
        labels = listing.labels
        has_labels = labels is None or (labels[listing.test] != UNLABELLED).any()
        if has_labels or not pooled:
            return listing.test
        rest = np.flatnonzero(~listing.test)
        inner = listing.subset(rest.tolist())._replace(test=None)
        held = listing.test.copy()
        held[rest] = hold_out(inner, fraction, seed)
        return held
    labels = np.zeros(n, np.int64) if listing.labels is None else listing.labels
    keys = [hashlib.sha256(f"{seed}/".encode() + os.fsencode(x)).digest() for x in listing.names]
    order = np.array(sorted(range(n), key=keys.__getitem__), np.int64)
    by_class = order[np.argsort(labels[order], kind="stable")]
    starts = np.flatnonzero(np.diff(labels[by_class], prepend=np.iinfo(np.int64).min))
    held = np.zeros(n, bool)
    small: list[np.ndarray] = []
    for members in np.split(by_class, starts[1:]):
        share = fraction * len(members)
        if pooled and share < 0.5:
            small.append(members)
            continue
        most = len(members) - 1 if pooled else len(members)
        held[members[: min(round(share), most)]] = True
    if small:
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        firsts = sorted((m[0] for m in small if len(m) > 1), key=place.__getitem__)
        held[firsts[: round(fraction * sum(map(len, small)))]] = True
    return held


def why_no_scores(
    labels: Int64[np.ndarray, " n"] | None, held_out: Bool[np.ndarray, " n"]
) -> str | None:
    """Why images with these labels cannot be learnt from and tested on, with the remedy."""
    if labels is None:
        return "there are no labels: put one folder per class at the top, or give --labels FILE.csv"
    train, test = labels[~held_out & (labels >= 0)], labels[held_out & (labels >= 0)]
    sizes = np.unique(labels[labels >= 0], return_counts=True)[1]
    if len(sizes) < 2:
        return f"{'one class only' if len(sizes) else 'no label'}: two classes are needed"
    if sizes.max() == 1:
        return (
            f"{len(sizes)} classes of one image each: is this a class folder? No image is left to "
            "test a class on that was learnt from another; give --labels FILE.csv with the classes"
        )
    if not len(test):
        return (
            f"none of the {len(train)} labelled samples is held out to test on: give a larger "
            "--holdout, or put some into a test folder"
        )
    counts = np.unique(train, return_counts=True)[1]
    if len(counts) < 2:
        return (
            f"the {len(train)} labelled samples to learn from are of {len(counts)} class"
            f"{'es' if len(counts) != 1 else ''}, two are needed: label more, or give a smaller "
            "--holdout"
        )
    if counts.max() < 2:
        return (
            f"the {len(counts)} classes have one labelled image each to learn from, and the "
            "scores' settings are chosen on a second: label more, or give a smaller --holdout"
        )
    return None
