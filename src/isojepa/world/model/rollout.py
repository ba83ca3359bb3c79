"""Many futures of few pasts: the predictor run open loop, without computing anything twice."""

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.world.model.predictor import CausalAttention, KeysValues, Predictor

Network = TypeVar("Network", bound=nn.Module)
AT_ONCE = 4096  # candidates whose modulations are held in memory together


def open_loop(
    predictor: Predictor,
    project: Callable[[Tensor], Tensor],
    z: Float[Tensor, "b t d"],
    past: Sequence[Float[Tensor, "b p m"]],
    futures: Sequence[Float[Tensor, "b s h m"]],
) -> Float[Tensor, "b s h d"]:
    """Predict open loop from the last of t real frames, t at most the predictor's history.

    The same as feeding every candidate's window of up to `history` tokens to `forward` and keeping
    the last output, but:
      * what the candidates share, all tokens before the last real frame, is computed once;
      * while the window grows, keys and values of earlier tokens are kept. Once it slides, all
        positions change and its tokens are computed anew: learned absolute positions forbid more;
      * the last block computes the newest token only.

    Args:
        project: (n, d) -> (n, d) after the predictor.
        past: modulations of the p = t - 1 earlier real frames, one tensor per block.
        futures: modulations of the candidates' actions, the first acting on the last real frame.
    """
    b, s, horizon = futures[0].shape[:3]
    p, history = z.shape[1] - 1, predictor.history
    own = [z[:, -1].repeat_interleave(s, 0)]  # the last real frame and what follows, (b * s, d)
    modulations = [m.flatten(0, 1) for m in futures]
    seen: list[KeysValues] | None = None
    for step in range(horizon):
        first = max(0, p + step + 1 - history)  # of the window, counted from the first real frame
        if step == 0 or first > 0:
            begin = max(0, first - p)
            seen = None
            if first < p:
                shared = [m[:, first:] for m in past]
                _, kept = predictor.advance(z[:, first:p], shared)
                seen = [kv.expand(s) for kv in kept]
        else:
            begin = step
        window = torch.stack(own[begin:], 1)
        out, seen = predictor.advance(window, [m[:, begin : step + 1] for m in modulations], seen)
        own.append(project(out))
    return torch.stack(own[1:], 1).unflatten(0, (b, s))


def evaluating(module: Network) -> Network:
    """The same module in eval mode, whatever mode it is in or is later put into.

    Weights and buffers are shared, so it follows further training and takes no memory.
    """
    shared = {id(x): x for x in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared).eval()


def folded(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy for inference: norms' scales folded into the linear maps beside them, one dtype.

    Equal up to rounding in eval mode, and no longer trainable.
    """
    module = copy.deepcopy(module).eval().requires_grad_(False)
    for part in list(module.modules()):
        if isinstance(part, CausalAttention):
            norm, part.qkv = _fold_layer_norm(part.norm, part.qkv)
            part.add_module("norm", norm)
        elif isinstance(part, nn.Sequential):
            for i, (first, second) in enumerate(pairwise(part)):
                if isinstance(first, nn.LayerNorm) and isinstance(second, nn.Linear):
                    part[i], part[i + 1] = _fold_layer_norm(first, second)
                elif isinstance(first, nn.Linear) and isinstance(second, nn.BatchNorm1d):
                    part[i], part[i + 1] = _fold_batch_norm(first, second), nn.Identity()
    return module.to(dtype).eval()


class PlainLayerNorm(nn.Module):
    """Layer norm without scale and shift."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return F.layer_norm(x, x.shape[-1:], eps=self.eps)


def _fold_layer_norm(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[nn.Module, nn.Linear]:
    bias = linear.weight @ norm.bias
    bias = bias if linear.bias is None else bias + linear.bias
    return PlainLayerNorm(norm.eps), _linear(linear.weight * norm.weight, bias)


def _fold_batch_norm(linear: nn.Linear, norm: nn.BatchNorm1d) -> nn.Linear:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = (linear.bias - norm.running_mean) * scale + norm.bias
    return _linear(linear.weight * scale[:, None], bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    linear.weight.data, linear.bias.data = weight.detach(), bias.detach()
    return linear.requires_grad_(False)
