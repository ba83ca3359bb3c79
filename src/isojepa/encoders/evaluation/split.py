"""Which images scores learn from and test on: what the run held out, never what it learnt on."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.encoders.modalities.modality import Dataset
from isojepa.encoders.sources.folder import UNLABELLED, hold_out, indexed
from isojepa.encoders.sources.held_out import HeldOut, Recognised, recognise
from isojepa.encoders.sources.inputs import Data, as_sources, is_there
from isojepa.encoders.sources.listing import quoted
from isojepa.errors import UserError
from isojepa.runs.record import CONFIG, RunRecord
from isojepa.runs.typed import from_json

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunSplit:
    """Where a run's images were, and how it held some out; from its config.json."""

    data: Data
    labels: Path | None = None
    holdout: float | None = None
    seed: int
    tested: int | None
    """Images that it held out."""
    fingerprint: str | None
    """Of their names."""

    @staticmethod
    def of(made: RunRecord, run: Path) -> "RunSplit":
        """Raises UserError if config.json is damaged."""
        held = {"tested": made.data.get("test"), "fingerprint": made.data.get("fingerprint")}
        return from_json(RunSplit, made.config | held, run / CONFIG)

    def own(self, run: Path) -> Data:
        """Where the images were when the run began.

        Raises:
            UserError: if that is not there any more.
        """
        for path in as_sources(self.data):
            if is_there(path):
                continue
            seen = f" (seen from {shown(Path.cwd())}; the run was given it so)"
            where = "" if path.is_absolute() else seen
            raise UserError(
                f"{shown(run)}: its samples were in {shown(path)}, which is not there{where}; "
                "give --data FOLDER"
            )
        return self.data


def as_in_run(
    images: Dataset, record: HeldOut, *, asked: bool, holdout: float, seed: int
) -> Dataset:
    """Mark the held-out images by the run's record.

    The run's own images, known by their contents wherever they lie, are learnt from or tested on
    as the run held them out; images added since are not used. Of another folder a share is held
    out, but nothing that the encoder was trained on.

    Args:
        images: with fingerprints.
        asked: whether the folder was given, rather than being where the run's images were.
        holdout: share of another folder to hold out.
        seed: of that choice.

    Raises:
        UserError: if the folder of the run's images holds none of them any more.
    """
    found = recognise(record, images.listing)
    known = int(found.by_content.sum())
    if not known and not asked:
        raise UserError(
            f"--data {shown(images.listing.root)}: holds none of the run's {len(record.names)} "
            "samples any more, though it is where they were; give --data to name their place now, "
            "or another folder to score on"
        )
    if asked and not is_own(found, record):
        known_by = found.by_content  # names say nothing in another folder
        return _another(
            images, found.trained_on & known_by, found.held_out & known_by, holdout, seed
        )
    if found.moved:
        log.info("%d of the run's samples have other names or places by now", found.moved)
    if found.changed:
        log.warning(
            "%d samples have other contents than in the run (%s); each stays on its side of the "
            "split",
            len(found.changed),
            quoted(found.changed),
        )
    if found.missing:
        log.warning(
            "%d of the run's samples are missing (%s)", len(found.missing), quoted(found.missing)
        )
    if found.new:
        log.warning(
            "%d samples are new (%s): the run neither was trained on them nor held them out; they "
            "are not used",
            len(found.new),
            quoted(found.new),
        )
        images = _without_labels(images, found.places < 0)
    if not record.held_out.any():
        return _unheld(images, holdout, seed)
    return replace(images, held_out=found.held_out)


def is_own(found: Recognised, record: HeldOut) -> bool:
    """Whether these are a run's images: half of them, or half of the run's, by their contents."""
    known = int(found.by_content.sum())
    return known > 0 and (2 * known >= len(found.places) or 2 * known >= len(record.names))


def with_run_labels(images: Dataset, record: HeldOut) -> Dataset:
    """Give the run's own images the labels of its record, where its table is not at hand."""
    found = recognise(record, images.listing)
    if not is_own(found, record):
        return images
    log.warning("labels are those that the run began with; --labels gives others")
    labels = [record.labels[place] if place >= 0 else None for place in found.places]
    numbers, names = indexed(labels)
    listing = images.listing._replace(labels=numbers, class_names=names)
    return replace(images, listing=listing)


def repeated_tests(images: Dataset, record: HeldOut | None) -> int:
    """Labelled held-out images that are, byte for byte, images learnt from or trained on."""
    prints = images.listing.prints
    if prints is None or images.labels is None:
        return 0
    seen = [prints[~images.held_out]]
    if record is not None:
        seen.append(record.prints[~record.held_out])
    tested = images.held_out & (images.labels != UNLABELLED)
    return int(np.isin(prints[tested], np.concatenate(seen)).sum())


def as_recomputed(
    images: Dataset, made: RunSplit, *, own: bool, holdout: float, seed: int
) -> Dataset:
    """Mark the held-out images for a run that did not record them, from names, seed and share.

    Args:
        made: of the run.
        own: whether these are the run's images, by their place or names.
    """
    if own and not made.tested:
        return _unheld(images, holdout, seed)
    log.warning(
        "the run did not record which samples it held out: found again from names, its seed and "
        "its share. %s",
        "If files or labels have changed since, it was trained on some of them"
        if own
        else "These are not its samples by name, and whether it was trained on any is not known",
    )
    if not made.tested:
        return replace(images, held_out=hold_out(images.listing, holdout, seed))
    share = holdout if made.holdout is None else made.holdout
    held = hold_out(images.listing, share, made.seed, pooled=False)
    return replace(images, held_out=held)


def _another(
    images: Dataset, trained_on: np.ndarray, held_out: np.ndarray, holdout: float, seed: int
) -> Dataset:
    held = hold_out(images.listing, holdout, seed)
    held = (held | held_out) & ~trained_on
    if trained_on.any():
        log.warning(
            "%d of %d samples were trained on: they are learnt from, never tested on",
            int(trained_on.sum()),
            len(images),
        )
    log.info("not the run's own samples: %d of %d held out", int(held.sum()), len(images))
    return replace(images, held_out=held)


def _unheld(images: Dataset, holdout: float, seed: int) -> Dataset:
    images = replace(images, held_out=hold_out(images.listing, holdout, seed))
    if images.held_out.any():
        log.warning("the encoder has seen the held-out samples, though not their labels")
    return images


def _without_labels(images: Dataset, which: np.ndarray) -> Dataset:
    if images.labels is None:
        return images
    labels = np.where(which, UNLABELLED, images.labels)
    return replace(images, listing=images.listing._replace(labels=labels))
