"""What config.json says of a run's settings and images, as far as the report reads it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.runs.record import CONFIG
from isojepa.runs.typed import LARGEST, from_json

MOST = {"batch_size": 2**53, "knots": 10_000, "t_max": LARGEST, "steps": 2**53, "minutes": LARGEST}
"""Beyond which a number is none that a run was made with."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a run was trained; None where it does not say."""

    model: str | None = None
    regulariser: str = "sigreg"
    lambd: float | Literal["auto"] | None = None
    batch_size: int | None = None
    knots: int = 17
    t_max: float = 3.0
    steps: int | None = None
    minutes: float | None = None
    image_size: int | None = None

    @staticmethod
    def of(settings: object, run: Path) -> "TrainingSettings":
        """Of a configuration as it was written.

        Raises:
            UserError: naming the entry that cannot be one.
        """
        read = from_json(TrainingSettings, settings, run / CONFIG)
        for name, most in MOST.items():
            value = getattr(read, name)
            if value is not None and not 0 < value <= most:
                raise UserError(f"{shown(run / CONFIG)}: damaged ({name} is {value})")
        return read


@dataclass(frozen=True, kw_only=True)
class TrainingImages:
    """On what a run was trained; None where it does not say."""

    images: int | None = None
    skipped: int | None = None
    classes: tuple[str, ...] | None = None
    test: int | None = None
    image_size: int | None = None
    repeated: int = 0
    """Held-out images that are, byte for byte, images trained on as well."""
    no_scores: str | None = None
    """Why the encoder cannot be scored."""

    @staticmethod
    def of(data: object, run: Path) -> "TrainingImages":
        """Of the record of the data as it was written.

        Raises:
            UserError: naming the entry that cannot be one.
        """
        return from_json(TrainingImages, data, run / CONFIG)
