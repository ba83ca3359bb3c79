"""The training loop: a generator that makes one update per yield."""

import math

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.randomness import Stream, seed_from


def learning_rate(step: int, *, peak: float, warmup: int, steps: int) -> float:
    """Linear warm-up over `warmup` steps, then a cosine down to a thousandth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return peak * (0.001 + 0.999 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Weights decay; biases, norms and other vectors do not."""
    decay: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in (p for p in model.parameters() if p.requires_grad):
        (decay if parameter.ndim > 1 else free).append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def begin_update(
    optimiser: torch.optim.Optimizer, lr: float, *, seed: int, step: int, rank: int
) -> None:
    """Set the learning rate, and seed what the model draws (dropout) by step and rank."""
    for group in optimiser.param_groups:
        group["lr"] = lr
    torch.manual_seed(seed_from(seed, step, rank, Stream.MODEL))


def end_update(
    fabric: Fabric, model: nn.Module, optimiser: torch.optim.Optimizer, clip: float
) -> Float[Tensor, ""]:
    """Step with the gradients, clipped to this norm, and drop them; returns their norm before."""
    norm = fabric.clip_gradients(model, optimiser, max_norm=clip, error_if_nonfinite=False)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return torch.as_tensor(norm)
