"""The training loop: a generator that makes one update per yield.

`compute(batch, step) -> terms` is all that differs between LeJEPA, a world model and a cloned
policy; what happens between two updates stands where the generator is consumed.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from isojepa.randomness import Stream, seed_from
from isojepa.runs.config import Precision


@runtime_checkable
class Terms(Protocol):
    """A named tuple of tensors: the loss, its terms as scalars, and whatever else is of use."""

    @property
    def loss(self) -> Float[Tensor, ""]:
        """Of the global batch. Without a graph, `compute` has made the backward pass itself."""
        ...

    def _asdict(self) -> dict[str, Any]: ...


B = TypeVar("B", covariant=True)
T = TypeVar("T", bound=Terms, covariant=True)


@dataclass(frozen=True)
class Update(Generic[B, T]):
    """One update."""

    step: int
    """Number of updates made so far, this one included."""
    batch: B
    """This rank's share."""
    terms: T
    """What `compute` returned, detached."""
    grad_norm: Float[Tensor, ""]
    """Before clipping."""
    lr: float


def optimise(
    fabric: Fabric,
    model: nn.Module,
    compute: Callable[[B, int], T],
    optimiser: torch.optim.Optimizer,
    batches: Iterable[B],
    *,
    schedule: Callable[[int], float],
    seed: int,
    start: int = 0,
    clip: float = 1.0,
) -> Iterator[Update[B, T]]:
    """Make one update per batch and yield it.

    Args:
        compute: (batch, step) -> terms of the global batch, whose loss is minimised.
        schedule: step -> learning rate.
        seed: of whatever the model draws (dropout), keyed by step and rank.
        start: number of updates already made, in a resumed run.
        clip: largest gradient norm.
    """
    model.train()
    for step, batch in enumerate(batches, start):
        lr = schedule(step)
        for group in optimiser.param_groups:
            group["lr"] = lr
        torch.manual_seed(seed_from(seed, step, fabric.global_rank, Stream.MODEL))
        terms = compute(batch, step)
        if terms.loss.requires_grad:
            fabric.backward(terms.loss)
        norm = fabric.clip_gradients(model, optimiser, max_norm=clip, error_if_nonfinite=False)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        yield Update(step + 1, batch, tree_map(Tensor.detach, terms), torch.as_tensor(norm), lr)


def cosine_schedule(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to a thousandth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def adamw(
    model: nn.Module, *, lr: float, weight_decay: float, precision: Precision = "auto"
) -> torch.optim.AdamW:
    """AdamW on what is trained, in one kernel.

    That kernel scales float16's gradients back by itself, and Fabric could not clip them before.
    """
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=lr, fused=precision != "16-mixed")


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms and other vectors do not."""
    decay: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in (p for p in model.parameters() if p.requires_grad):
        (decay if parameter.ndim > 1 else free).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
