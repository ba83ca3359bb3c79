"""The predictor of LeWorldModel: a causal transformer whose blocks are modulated by the actions.

`forward` is the teacher-forced pass of training. `advance` goes on from what earlier tokens left
in a cache and stops at the newest token: with it `rollout.py` imagines many futures at once.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class KeysValues(NamedTuple):
    """What the tokens seen so far leave for later ones in one attention layer."""

    keys: Float[Tensor, "n heads t e"]
    values: Float[Tensor, "n heads t e"]

    def expand(self, copies: int) -> "KeysValues":
        """The same for `copies` futures of each of the n pasts."""
        return KeysValues(*(x.repeat_interleave(copies, 0) for x in self))


class ActionEncoder(nn.Module):
    """A block of actions in, the condition of the token it acts on out."""

    def __init__(self, action_dim: int, d: int) -> None:
        super().__init__()
        self.mix = nn.Linear(action_dim, action_dim)  # published as a smoothing convolution
        self.mlp = nn.Sequential(nn.Linear(action_dim, 4 * d), nn.SiLU(), nn.Linear(4 * d, d))

    def forward(self, actions: Float[Tensor, "... a"]) -> Float[Tensor, "... d"]:
        return self.mlp(self.mix(actions))


class CausalAttention(nn.Module):
    """Self-attention of heads of free width, each token on itself and those before it."""

    def __init__(self, d: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, d)

    def forward(
        self, x: Float[Tensor, "n t d"], past: KeysValues | None, newest: bool
    ) -> tuple[Float[Tensor, "n q d"], KeysValues]:
        """Attend from the tokens `x`, or only from the newest, to the past and to themselves."""
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q = q[:, :, -1:] if newest else q
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
        seen = KeysValues(k, v)
        drop = self.dropout if self.training else 0.0
        if k.shape[2] == 1 and not drop:
            mixed = v  # a lone token attends to itself
        elif q.shape[2] == 1:
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop)
        elif past is None:
            mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=True)
        else:
            allowed = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=q.device)
            allowed = allowed.tril(k.shape[2] - q.shape[2])
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=drop)
        x = self.out(mixed.transpose(1, 2).flatten(2))
        return F.dropout(x, self.dropout, self.training), seen


class Block(nn.Module):
    """Attention and MLP, each shifted, scaled and gated by the condition (AdaLN-zero)."""

    def __init__(self, d: int, heads: int, head_width: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.attention = CausalAttention(d, heads, head_width, dropout)
        self.mlp = nn.Sequential(
            nn.LayerNorm(d),
            nn.Linear(d, mlp),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(mlp, d),
            nn.Dropout(dropout),
        )
        self.modulation = nn.Linear(d, 6 * d)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: Float[Tensor, "n t d"],
        modulation: Float[Tensor, "n t m"],
        past: KeysValues | None = None,
        newest: bool = False,
    ) -> tuple[Float[Tensor, "n q d"], KeysValues]:
        """The tokens after the block, or only the newest of them, and what they leave behind."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = modulation.chunk(6, -1)
        mixed, seen = self.attention(_modulate(x, shift, scale), past, newest)
        if newest:
            x, gate, gate_mlp = x[:, -1:], gate[:, -1:], gate_mlp[:, -1:]
            shift_mlp, scale_mlp = shift_mlp[:, -1:], scale_mlp[:, -1:]
        x = torch.addcmul(x, gate, mixed)
        x = torch.addcmul(x, gate_mlp, self.mlp(_modulate(x, shift_mlp, scale_mlp)))
        return x, seen


class Predictor(nn.Module):
    """Embeddings and conditions in, predictions of the next embeddings out.

    Args:
        d: embedding dimension, of conditions too.
        width: of the transformer; other than `d` it adds linear maps in and out.
        history: most tokens it sees; positions in the window are learned.
    """

    def __init__(
        self,
        d: int,
        *,
        width: int,
        history: int,
        depth: int,
        heads: int,
        head_width: int,
        mlp: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.history = history
        self.positions = nn.Parameter(torch.randn(1, history, d))
        same = width == d
        self.enter = nn.Identity() if same else nn.Linear(d, width)
        self.enter_condition = nn.Identity() if same else nn.Linear(d, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, head_width, mlp, dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Identity() if same else nn.Linear(width, d)

    def modulations(self, condition: Float[Tensor, "... d"]) -> list[Float[Tensor, "... m"]]:
        """Shifts, scales and gates of every block: a function of the condition alone."""
        active = F.silu(self.enter_condition(condition))
        return [block.modulation(active) for block in self.blocks]  # type: ignore[operator]

    def forward(
        self, z: Float[Tensor, "n t d"], condition: Float[Tensor, "n t d"]
    ) -> Float[Tensor, "n t d"]:
        """Output i predicts embedding i + 1 from tokens 0 to i; at most `history` tokens."""
        x = self.enter(z + self.positions[:, : z.shape[1]])
        for block, modulation in zip(self.blocks, self.modulations(condition)):
            x, _ = block(x, modulation)
        return self.leave(self.norm(x))

    def advance(
        self,
        z: Float[Tensor, "n t d"],
        modulations: Sequence[Float[Tensor, "n t m"]],
        past: Sequence[KeysValues] | None = None,
    ) -> tuple[Float[Tensor, "n d"], list[KeysValues]]:
        """The newest token's output and what all tokens leave behind, given an earlier past."""
        start = 0 if past is None else past[0].keys.shape[2]
        x = self.enter(z + self.positions[:, start : start + z.shape[1]])
        seen = []
        for i, (block, modulation) in enumerate(zip(self.blocks, modulations)):
            last = i == len(self.blocks) - 1
            x, kv = block(x, modulation, None if past is None else past[i], newest=last)
            seen.append(kv)
        return self.leave(self.norm(x[:, -1])), seen


def _modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    x = F.layer_norm(x, x.shape[-1:], eps=1e-6)
    return torch.addcmul(x + shift, x, scale)
