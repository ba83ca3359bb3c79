"""What reads a state of the world model: reward, continuation, values and the policy prior."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.world.agent.two_hot import TwoHot

LEAST_LOG_STD, MOST_LOG_STD = -5.0, 0.7


def mlp(d: int, hidden: int, out: int, *, zero: bool = False) -> nn.Sequential:
    """Two hidden layers, layer norm after each linear map; `zero` starts the output at 0."""
    last = nn.Linear(hidden, out)
    if zero:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(
        nn.Linear(d, hidden), nn.LayerNorm(hidden), nn.SiLU(),
        nn.Linear(hidden, hidden), nn.LayerNorm(hidden), nn.SiLU(),
        last,
    )  # fmt: skip


class RewardHead(nn.Module):
    """The reward of an action in a state."""

    def __init__(self, d: int, a: int, hidden: int, bins: int) -> None:
        super().__init__()
        self.two_hot = TwoHot(bins)
        self.net = mlp(d + a, hidden, bins, zero=True)

    def forward(
        self, z: Float[Tensor, "*n d"], action: Float[Tensor, "*n a"]
    ) -> Float[Tensor, "*n k"]:
        return self.net(torch.cat([z, action], -1))

    def expected(
        self, z: Float[Tensor, "*n d"], action: Float[Tensor, "*n a"]
    ) -> Float[Tensor, "*n"]:
        """The reward itself."""
        return self.two_hot.decode(self(z, action))


class ContinuationHead(nn.Module):
    """Whether the task goes on after an action in a state: a logit."""

    def __init__(self, d: int, a: int, hidden: int) -> None:
        super().__init__()
        self.net = mlp(d + a, hidden, 1, zero=True)
        nn.init.constant_(self.net[-1].bias, 3.0)  # type: ignore[arg-type]  # most steps go on

    def forward(
        self, z: Float[Tensor, "*n d"], action: Float[Tensor, "*n a"]
    ) -> Float[Tensor, "*n"]:
        return self.net(torch.cat([z, action], -1))[..., 0]


class ValueHeads(nn.Module):
    """An ensemble of values of actions in states, each over the bins of `TwoHot`.

    For a discrete choice all actions' values come from the state at once.
    """

    def __init__(
        self, d: int, a: int, hidden: int, bins: int, members: int, *, discrete: bool
    ) -> None:
        super().__init__()
        self.discrete, self.a, self.bins = discrete, a, bins
        self.two_hot = TwoHot(bins)
        sizes = (d, a * bins) if discrete else (d + a, bins)
        self.nets = nn.ModuleList(
            mlp(sizes[0], hidden, sizes[1], zero=True) for _ in range(members)
        )

    def forward(
        self, z: Float[Tensor, "*n d"], action: Float[Tensor, "*n a"]
    ) -> Float[Tensor, "e *n k"]:
        """Logits of each member."""
        if not self.discrete:
            x = torch.cat([z, action], -1)
            return torch.stack([net(x) for net in self.nets])
        return torch.einsum("e...ak,...a->e...k", self.of_all(z), action)

    def of_all(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "e *n a k"]:
        """Logits of each member for every choice."""
        x = torch.stack([net(z) for net in self.nets])
        return x.unflatten(-1, (self.a, self.bins))


class PolicyDraw(NamedTuple):
    """What a policy does in n states."""

    action: Float[Tensor, "*n a"]
    """In [-1, 1], or one-hot."""
    entropy: Float[Tensor, "*n"]


class PolicyHead(nn.Module):
    """The policy prior: a squashed Gaussian, or a choice."""

    def __init__(self, d: int, a: int, hidden: int, *, discrete: bool) -> None:
        super().__init__()
        self.discrete, self.a = discrete, a
        self.net = mlp(d, hidden, a if discrete else 2 * a, zero=True)

    def forward(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n o"]:
        """Logits of a choice, or mean and squashed log deviation before the tanh."""
        return self.net(z)

    def mode(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n a"]:
        """The action that it prefers."""
        out = self(z)
        if self.discrete:
            return F.one_hot(out.argmax(-1), self.a).to(out.dtype)
        return out.chunk(2, -1)[0].tanh()

    def draw(self, z: Float[Tensor, "*n d"], noise: Float[Tensor, "*n a"]) -> PolicyDraw:
        """An action by noise: standard normal for numbers, Gumbel's for a choice.

        The entropy of the squashed Gaussian is a one-sample estimate.
        """
        out = self(z)
        if self.discrete:
            logs = out.log_softmax(-1)
            action = F.one_hot((logs + noise).argmax(-1), self.a).to(out.dtype)
            return PolicyDraw(action, -(logs.exp() * logs).sum(-1))
        mean, spread = self._gaussian(out)
        before = mean + spread * noise
        log_density = -0.5 * noise.square() - spread.log() - 0.5 * math.log(2 * math.pi)
        log_density = log_density - 2 * (math.log(2) - before - F.softplus(-2 * before))
        return PolicyDraw(before.tanh(), -log_density.sum(-1))

    def disagreement(
        self, z: Float[Tensor, "*n d"], action: Float[Tensor, "*n a"]
    ) -> Float[Tensor, "*n"]:
        """Minus the log-probability of actions, before the tanh for numbers."""
        out = self(z)
        if self.discrete:
            return -(out.log_softmax(-1) * action).sum(-1)
        mean, spread = self._gaussian(out)
        before = action.clamp(-0.999, 0.999).atanh()
        return (0.5 * ((before - mean) / spread).square() + spread.log()).sum(-1)

    def _gaussian(self, out: Tensor) -> tuple[Tensor, Tensor]:
        mean, spread = out.chunk(2, -1)
        width = MOST_LOG_STD - LEAST_LOG_STD
        return mean, (LEAST_LOG_STD + width * 0.5 * (spread.tanh() + 1)).exp()
