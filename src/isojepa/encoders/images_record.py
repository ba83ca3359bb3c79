"""What a run records of its images, in config.json under `data`."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.sources.folder import why_no_scores
from isojepa.encoders.sources.held_out import record_of, repeated
from isojepa.runs.record import CONFIG, RunRecord
from isojepa.runs.typed import from_json


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
    side: int
    """Of the squares that are kept of the images, in pixels."""
    channels: int
    bits: int | None = 16
    """Depth that is mapped to the range of a byte; None for images of 8 bits."""
    fingerprint: str
    """Of the names."""

    @staticmethod
    def of(run: RunRecord, out: Path) -> "ImagesRecord":
        """What a run recorded.

        Raises:
            UserError: if it is damaged.
        """
        return from_json(ImagesRecord, run.data, out / CONFIG)


def describe_images(images: ImageSet) -> ImagesRecord:
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
        side=images.side,
        channels=images.channels,
        bits=images.bits,
        fingerprint=hashlib.sha256(names).hexdigest()[:16],
    )


def repeated_images(images: ImageSet) -> int:
    """Held-out images that are, byte for byte, images trained on as well."""
    if images.listing.prints is None:
        return 0
    return repeated(record_of(images.listing, images.held_out))
