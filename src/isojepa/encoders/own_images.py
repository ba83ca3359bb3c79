"""A run that is gone on with: its own images again, with its own labels and held-out ones."""

import logging
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.encoders.images_record import ImagesRecord
from isojepa.encoders.sources.folder import UNLABELLED, Listing
from isojepa.encoders.sources.held_out import HeldOut, label_names, recognise
from isojepa.encoders.sources.listing import quoted
from isojepa.errors import UserError

log = logging.getLogger(__name__)


def as_recorded(
    listing: Listing, record: HeldOut, classes: tuple[str, ...] | None, out: Path, *, compare: bool
) -> Listing:
    """The images of a run, in its order and with its labels, wherever they lie by now.

    Args:
        listing: what the data folder holds now, with fingerprints.
        classes: the run's class names, which the record's labels are of.
        out: the run's folder, for messages.
        compare: whether the listing's labels were asked for, and have to be the run's.

    Raises:
        UserError: if samples are missing or have other contents, or other labels were asked for.
    """
    assert listing.prints is not None
    found = recognise(record, listing)
    if found.missing or found.changed:
        n, what = len(record.names), []
        if found.missing:
            what.append(
                f"{len(found.missing)} of {n} samples are missing ({quoted(found.missing)})"
            )
        if found.changed:
            what.append(
                f"{len(found.changed)} of {n} samples have other contents under the same name "
                f"({quoted(found.changed)})"
            )
        raise UserError(
            f"--resume {shown(out)}: the data have changed: {' and '.join(what)}; restore them or "
            "start a new run"
        )
    marks = listing.prints.tolist()
    by_content = {mark: i for i, mark in enumerate(marks)}
    by_name = {name: i for i, name in enumerate(listing.names)}
    places = []
    for name, mark in zip(record.names, record.prints.tolist(), strict=True):
        i = by_name.get(name)
        places.append(i if i is not None and marks[i] == mark else by_content[mark])
    if found.new:
        log.warning(
            "%d samples are new (%s): not used, the run goes on with its own",
            len(found.new),
            quoted(found.new),
        )
    if found.moved:
        log.info("%d of the run's samples lie elsewhere by now", found.moved)
    if compare:
        _compare(label_names(listing), places, record, out)
    kept = listing.subset(places)
    index: dict[str | None, int] = {name: i for i, name in enumerate(classes or ())}
    labels = np.array([index.get(label, UNLABELLED) for label in record.labels], np.int64)
    names = None if classes is None else list(classes)
    return kept._replace(labels=labels if classes else None, class_names=names, test=None)


def _compare(asked: list[str | None], places: list[int], record: HeldOut, out: Path) -> None:
    pairs = [(asked[i], was, name) for i, was, name in zip(places, record.labels, record.names)]
    other = [(now, was, name) for now, was, name in pairs if now != was]
    if not other:
        return
    now, was, name = other[0]
    raise UserError(
        f"--resume {shown(out)}: --labels gives {len(other)} of {len(pairs)} samples another label "
        f"than the run has, for example '{shown(name)}': {was or 'none'} then, {now or 'none'} "
        "now. Leave --labels out to go on with the run's own, or start a new run"
    )


def check_unrecorded(was: ImagesRecord, now: ImagesRecord, out: Path) -> None:
    """Compare names and classes with those of a run that recorded no more of its images.

    Raises:
        UserError: if they differ.
    """
    if now.fingerprint != was.fingerprint:
        raise UserError(
            f"--resume {shown(out)}: the data have changed: {was.images} images then, "
            f"{now.images} now, or other names; restore them or start a new run"
        )
    if was.classes != now.classes or was.test != now.test:
        raise UserError(
            f"--resume {shown(out)}: the labels have changed: {len(was.classes or ())} classes "
            f"and {was.test} images held out then, {len(now.classes or ())} and "
            f"{now.test} now; restore them or start a new run"
        )
    log.warning("the run did not record which samples it held out: found again from their names")
