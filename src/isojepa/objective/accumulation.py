"""One update from a batch that does not fit: the loss sees all embeddings, memory one part's graph.

Adding up the losses of small batches is not the loss of a large one: SIGReg compares distributions,
and that of 32 samples is another test than that of 1024. So the parts are embedded twice, first
without a graph to get the loss and its gradient with respect to every embedding, then with one to
send that gradient on to the weights. Gao, Zhang, Han and Callan (2021), arXiv 2101.06983, call it
gradient caching.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import get_device_states, set_device_states

Part = TypeVar("Part")
Terms = TypeVar("Terms", bound=tuple | Tensor)


def backward_in_parts(
    model: nn.Module,
    parts: Sequence[Part],
    objective: Callable[[Tensor], Terms],
    *,
    embed: Callable[[Part], Float[Tensor, "... n d"]] | None = None,
    backward: Callable[[Tensor], object] = Tensor.backward,
    no_sync: Callable[[], AbstractContextManager] | None = None,
) -> Terms:
    """Add to the weights' gradients those of the objective of all parts together.

    The result is that of one large batch, to rounding, for a model that treats samples separately.
    Dropout draws the same masks in both passes. BatchNorm normalises with the statistics of each
    part, as it would in ordinary accumulation, and updates its running ones once. The price is one
    more forward pass.

    Args:
        model: its BatchNorm layers and its `no_sync`, if any, are looked after.
        parts: what is embedded at a time; the last axis but one of the embeddings is joined.
        objective: embeddings of all parts, (..., n, d), -> the loss, or a tuple that starts with it
            such as `LeJEPATerms`. In `torch.distributed` it is called once per update on each
            rank; if layers synchronise, ranks need equal numbers of parts.
        embed: part -> embeddings; `model` by default.
        backward: what to call on a scalar in place of its method `backward`, for scaled or wrapped
            gradients: `lambda x: scaler.scale(x).backward()`, or `fabric.backward`.
        no_sync: makes a context in which gradients are not averaged over ranks, entered for all
            parts but the last; `model.no_sync` by default, if there is one.

    Returns:
        What the objective returned, detached.

    Raises:
        ValueError: if there are no parts.
    """
    if not parts:
        raise ValueError("there are no parts to embed")
    embed = embed or model
    averaged_later = getattr(model, "no_sync", nullcontext) if no_sync is None else no_sync
    embeddings, states = [], []
    with torch.no_grad(), _running_statistics_kept(model):
        for part in parts:
            states.append(_RandomState(part))
            embeddings.append(embed(part))
    # Autocast keeps the weights it has converted, and those made without a graph would be reused.
    torch.clear_autocast_cache()

    joined = torch.cat(embeddings, -2).requires_grad_()
    terms = objective(joined)
    loss = terms if isinstance(terms, Tensor) else terms[0]
    (gradient,) = torch.autograd.grad(loss, joined)
    gradients = gradient.split([x.shape[-2] for x in embeddings], -2)

    after = _RandomState(parts)
    for i, (part, state, wanted) in enumerate(zip(parts, states, gradients)):
        state.restore()
        with nullcontext() if i == len(parts) - 1 else averaged_later():
            # A scalar with the wanted gradient: what scales or wraps losses can take it.
            backward((embed(part).to(wanted.dtype) * wanted).sum())
    after.restore()
    return tree_map(Tensor.detach, terms)


class _RandomState:
    """Of the CPU's generator and those of the devices on which `tensors` lie."""

    def __init__(self, tensors: object) -> None:
        self._cpu = torch.get_rng_state()
        self._devices = get_device_states(tensors)

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        set_device_states(*self._devices)


@contextmanager
def _running_statistics_kept(model: nn.Module) -> Iterator[None]:
    """BatchNorm normalises as in training but does not count the batch."""
    layers = [
        layer
        for layer in model.modules()
        if isinstance(layer, _BatchNorm) and layer.training and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
