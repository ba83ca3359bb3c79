"""What a run records of its samples, in config.json under `data`."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from isojepa.encoders.modalities.modality import Dataset, Modality
from isojepa.encoders.sources.folder import why_no_scores
from isojepa.encoders.sources.held_out import record_of, repeated
from isojepa.runs.record import CONFIG, RunRecord
from isojepa.runs.typed import Others, from_json


@dataclass(frozen=True, kw_only=True)
class ImagesRecord:
    """Counts, classes and a fingerprint of the names; what an older version left out is empty."""

    images: int
    skipped: int = 0
    side_cars: dict[str, int] = field(default_factory=dict)
    """Files of other kinds, by ending."""
    classes: tuple[str, ...] | None = None
    train: int
    test: int
    repeated: int = 0
    """Held-out images that are, byte for byte, images trained on as well."""
    no_scores: str | None = None
    """Why the encoder cannot be scored."""
    fingerprint: str
    """Of the names."""
    form: Others = field(default_factory=dict)
    """How the modality reads them."""

    @staticmethod
    def of(run: RunRecord, out: Path) -> "ImagesRecord":
        """What a run recorded.

        Raises:
            UserError: if it is damaged.
        """
        return from_json(ImagesRecord, run.data, out / CONFIG)


def describe_images(images: Dataset, modality: Modality) -> ImagesRecord:
    """What to record of these images."""
    listing = images.listing
    names = b"\n".join(map(os.fsencode, listing.names))
    return ImagesRecord(
        images=len(images),
        skipped=len(images.skipped),
        side_cars=dict(listing.side_cars),
        classes=None if listing.class_names is None else tuple(listing.class_names),
        train=int((~images.held_out).sum()),
        test=int(images.held_out.sum()),
        repeated=repeated_images(images),
        no_scores=why_no_scores(images.labels, images.held_out),
        fingerprint=hashlib.sha256(names).hexdigest()[:16],
        form=modality.read.recorded(images),
    )


def repeated_images(images: Dataset) -> int:
    """Held-out images that are, byte for byte, images trained on as well."""
    if images.listing.prints is None:
        return 0
    return repeated(record_of(images.listing, images.held_out))
