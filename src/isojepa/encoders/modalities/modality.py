"""What a kind of data brings along: how it is read, viewed and embedded.

A modality is one folder here with three files, `read`, `views` and `network`, each with a class
that fills in one of `Reading`, `Viewing` and `Networks`. The objective, the projector, the loop,
probes, scores and reports know no modality: they see a `Dataset`, a `Batch` of it, `Views` of that,
and the embeddings of these. `docs/howto/modality.md` walks through adding one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.inputs import Data
from isojepa.progress import Track
from isojepa.runs.record import RunRecord

Samples = TypeVar("Samples", bound=tuple, covariant=True)
"""What samples are as tensors: a NamedTuple, the samples on the first axis of each field."""


class Statistics(NamedTuple):
    """Of each channel, over the values that a network will see."""

    mean: list[float]
    std: list[float]


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC, Generic[Samples]):
    """The samples of one source, in an order that stays."""

    listing: Listing
    """Names, labels and fingerprints of the samples."""
    held_out: Bool[np.ndarray, " n"]
    """True for the samples that are kept out of training."""
    skipped: list[tuple[str, str]] = field(default_factory=list)
    """(name, reason) of what holds no usable sample."""
    notes: list[str] = field(default_factory=list)
    """What may surprise about the source as a whole, a line each."""

    def __len__(self) -> int:
        return len(self.listing.names)

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        """Class of each sample, -1 where it has none; None without any. For scores only."""
        return self.listing.labels

    @abstractmethod
    def read(self, indices: Sequence[int] | Tensor) -> Samples:
        """The samples at the given positions, on the CPU, before any view is made.

        Raises:
            UserError: if a sample cannot be read any more.
        """

    @abstractmethod
    def statistics(self, indices: Sequence[int]) -> Statistics:
        """What the samples at these positions are normalised by."""


@dataclass(frozen=True)
class Batch(Generic[Samples]):
    """This rank's share of a global batch."""

    samples: Samples
    labels: Int64[Tensor, " n"] | None
    first: int
    """Position of the first of these samples in the global batch."""
    total: int
    """Size of the global batch."""


class Views(NamedTuple):
    """Views of a batch as the network reads them. Axes: v views, n samples."""

    large: Float[Tensor, "v n *global"]
    """Global views."""
    small: Float[Tensor, "w n *local"] | None
    """Local views, of another size; None without any."""


class Network(nn.Module):
    """An encoder: views, or prepared samples, in; one embedding per sample out."""

    embedding_dim: int
    spec: Any
    """A dataclass that holds all that is needed to rebuild it, its weights apart. It has `model`,
    which is "custom" for a module passed from Python."""
    prepare: Callable[..., Tensor]
    """The fields of samples, on the network's device -> the one view they are embedded by."""


class Words(NamedTuple):
    """What samples are called."""

    one: str
    many: str
    short: str
    """For the bar."""
    raw: str
    """What `raw` gives: the key and the name of that baseline."""


class Columns(NamedTuple):
    """Which columns of a table hold what; None where that is to be found out."""

    id: str | None = None
    time: str | None = None
    label: str | None = None


UNSAID = Columns()


class Source(NamedTuple):
    """What lies at a path, before it is settled how it is read."""

    listing: Listing
    """With fingerprints. Samples may be left out or reordered before they are read."""
    contents: Any = None
    """What was read on the way, for `read` to look the listing's names up in."""


class Place(NamedTuple):
    """Where samples are, in the user's words."""

    data: Data
    labels: Path | None = None
    """A table of other classes and splits."""
    leave_out: Sequence[Path] = ()
    """Files and folders below it that are none of the samples."""
    columns: Columns = UNSAID
    pages: Literal["first", "each"] = "first"
    """Which pages of TIFF files are images."""


class Given(NamedTuple):
    """What decides the settings that the user left open."""

    config: PretrainConfig
    source: Source
    stored: RunRecord | None
    """The record of the run that is gone on with, whose form stays."""
    gpu: bool
    backbone: nn.Module | None
    """A module to train in place of a named one."""
    tell: Callable[[str], object]
    """Gets a line for each setting that is not what the data alone would give."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """The settings that depend on the kind of data, named as the fields of `PretrainConfig` that
    may be left open. These are in each; a modality may add its own."""

    model: str
    recipe: str
    global_views: int
    local_views: int
    projector_hidden: int
    lr: float


class Reading(ABC):
    """What `read.py` of a modality holds. A form is a modality's own record of how samples are
    read, such as a size or the order of columns: the same for all that one encoder sees.
    """

    WORDS: Words

    @abstractmethod
    def recognises(self, path: Path, columns: Columns) -> bool:
        """Whether a path is likely to hold samples of this kind; at a glance."""

    @abstractmethod
    def find(self, place: Place, track: Track) -> Source:
        """What lies at the path; raises UserError where nothing does."""

    @abstractmethod
    def choose(self, given: Given) -> tuple[Choices, Any]:
        """Settle what the data and the machine decide: the choices, and the form."""

    @abstractmethod
    def form_of(self, spec: Any) -> Any:
        """How to read for a trained encoder."""

    @abstractmethod
    def read(self, source: Source, form: Any, track: Track) -> Dataset:
        """The data set; samples that cannot be used are left out and named."""

    @abstractmethod
    def recorded(self, data: Any) -> dict[str, Any]:
        """The form as plain JSON values, for the run's record."""

    @abstractmethod
    def raw(self, data: Any, indices: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Samples as plain numbers, for the baselines that learn nothing."""

    @abstractmethod
    def pictures(self, data: Any, indices: Tensor) -> UInt8[np.ndarray, "n h w c"]:
        """A small picture of each sample, for the report."""


class Viewing(ABC):
    """How views are made: what `views.py` of a modality holds."""

    @abstractmethod
    def recipe(self, config: PretrainConfig, choices: Any) -> Any:
        """What varies between the views of a sample."""

    @abstractmethod
    def views(
        self, batch: Batch, step: int, *, recipe: Any, spec: Any, seed: int, device: torch.device
    ) -> Views:
        """Random views, a function of the seed, the step and the samples' positions in the global
        batch: the same on any number of ranks and after any resume."""

    @abstractmethod
    def write_preview(
        self, path: Path, data: Any, indices: Tensor, recipe: Any, *, seed: int
    ) -> None:
        """Write a PNG of some samples and their views."""


class Networks(ABC):
    """What embeds them: what `network.py` of a modality holds."""

    Spec: type

    @abstractmethod
    def check(self, config: PretrainConfig, *, pretrained: bool) -> None:
        """Raise UserError for a model that does not exist, before anything is read."""

    @abstractmethod
    def spec(self, config: PretrainConfig, choices: Any, data: Any, statistics: Statistics) -> Any:
        """What to build for these data."""

    @abstractmethod
    def network(self, spec: Any, backbone: nn.Module | None, *, pretrained: bool) -> Network:
        """The encoder with initial weights drawn from torch's generator."""

    @abstractmethod
    def in_words(self, spec: Any) -> str:
        """The network and what it reads, in a phrase."""


class Modality(NamedTuple):
    """A kind of data: all that differs between kinds."""

    name: str
    read: Reading
    views: Viewing
    network: Networks
