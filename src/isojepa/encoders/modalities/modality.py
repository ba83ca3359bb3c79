"""What a kind of data brings along: how it is read, viewed and embedded.

A modality is one folder here whose module `modality` has the three functions of `Modality`. The
objective, the projector, the loop, probes, scores and reports know no modality: they see a
`Dataset`, a `Batch` of it, `Views` of that, and the embeddings of these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

Samples = TypeVar("Samples", bound=tuple, covariant=True)
"""What samples are as tensors: a NamedTuple, the samples on the first axis of each field."""


class Statistics(NamedTuple):
    """Of each channel, over the values that a network will see."""

    mean: list[float]
    std: list[float]


@runtime_checkable
class Dataset(Protocol[Samples]):
    """The samples of one source, in an order that stays."""

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Int64[np.ndarray, " n"] | None:
        """Class of each sample, -1 where it has none; None without any. For scores only."""

    @property
    def held_out(self) -> Bool[np.ndarray, " n"]:
        """True for the samples that are kept out of training."""

    def read(self, indices: Sequence[int] | Tensor) -> Samples:
        """The samples at the given positions, on the CPU, before any view is made.

        Raises:
            UserError: if a sample cannot be read any more.
        """

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


@runtime_checkable
class Modality(Protocol):
    """A kind of data. Settings beyond those named are its own, keyword-only, and bound by the
    product: `partial(modality.views, recipe=..., seed=...)` is what the loop calls.
    """

    @property
    def read(self) -> Callable[..., Dataset]:
        """(source) -> the data set; unreadable samples are left out and named."""

    @property
    def views(self) -> Callable[..., Views]:
        """(batch, step) -> random views, a function of the seed, the step and the samples'
        positions in the global batch: the same on any number of ranks and after any resume."""

    @property
    def network(self) -> Callable[..., nn.Module]:
        """(spec) -> the encoder: `forward`, one of the views' sizes -> (n, d); `prepare`, the
        fields of samples -> the one view they are embedded by; `embedding_dim`, d."""
