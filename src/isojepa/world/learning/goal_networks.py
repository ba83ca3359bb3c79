"""Two small networks on a frozen model's embeddings: how far a goal is, and how to go there.

The reachability is a quasimetric in environment steps, after Wang et al. (Quasimetric RL, ICML
2023): the largest distance of random pairs under which no step of the data is longer than a step.
Its form obeys the triangle inequality by construction (Liu et al., Metric residual networks, AAAI
2023), so that what was learnt of single steps adds up over episodes that were never seen as one.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.runs.record import CONFIG, read_run
from isojepa.runs.typed import from_json

FOLDER, WEIGHTS = "direct", "direct.safetensors"
LONG = 25.0  # steps: a scale for what is far


@dataclass(frozen=True, kw_only=True)
class GoalSizes:
    """Sizes of the networks, and the world model that they belong to."""

    embedding_dim: int
    action_dim: int
    """Numbers in a block."""
    frame_skip: int
    hidden: int = 512
    groups: int = 8
    """Quasimetrics of which the largest counts."""
    world: str = ""
    """Digest of the world model's weights."""


class Reachability(nn.Module):
    """Environment steps from one embedding to another, whatever is between."""

    def __init__(self, sizes: GoalSizes) -> None:
        super().__init__()
        half = sizes.hidden // 2
        self.groups = sizes.groups
        self.embed = nn.Sequential(
            nn.Linear(sizes.embedding_dim, half), nn.GELU(), nn.Linear(half, half), nn.GELU(),
            nn.Linear(half, 16 * sizes.groups),
        )  # fmt: skip
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, z: Float[Tensor, "*b d"], goal: Float[Tensor, "*b d"]) -> Float[Tensor, "*b"]:
        """Steps from z to the goal: at least 0, and 0 only to itself."""
        return self.between(self.embed(z), self.embed(goal))

    def between(self, x: Float[Tensor, "*#b e"], y: Float[Tensor, "*#b e"]) -> Float[Tensor, "*#b"]:
        """The same from what `embed` gives, which need not be computed anew for a goal."""
        x, y = (one.unflatten(-1, (self.groups, -1)) for one in (x, y))
        both, one_way = (y - x).chunk(2, -1)
        symmetric = both.square().sum(-1).clamp(min=1e-8).sqrt()
        return self.log_scale.exp() * (symmetric + one_way.relu().amax(-1)).amax(-1)


class DirectPolicy(nn.Module):
    """From an embedding, a goal's and the steps that remain to the next block of actions."""

    low: Tensor
    high: Tensor

    def __init__(self, sizes: GoalSizes) -> None:
        super().__init__()
        d, hidden, a = sizes.embedding_dim, sizes.hidden, sizes.action_dim
        self.net = nn.Sequential(
            nn.Linear(2 * d + 2, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(),
            nn.Linear(hidden, a),
        )  # fmt: skip
        self.register_buffer("low", torch.full((a,), -3.0))
        self.register_buffer("high", torch.full((a,), 3.0))

    def forward(
        self, z: Float[Tensor, "*b d"], goal: Float[Tensor, "*b d"], remaining: Float[Tensor, "*b"]
    ) -> Float[Tensor, "*b a"]:
        """A block, normalised, between the least and the greatest actions of the data."""
        k = remaining.clamp(min=1.0)[..., None]
        seen = torch.cat([z, goal, (1 + k).log() / 4, (k / LONG).clamp(max=1.0)], -1)
        width = (self.high - self.low).clamp(min=1e-6)
        return self.low + width * torch.sigmoid(4 * self.net(seen) / width)


class GoalNetworks(nn.Module):
    """Both, and the multiplier under which they are trained."""

    def __init__(self, sizes: GoalSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.reach = Reachability(sizes)
        self.direct = DirectPolicy(sizes)
        self.multiplier = nn.Parameter(torch.tensor(0.0))

    @torch.no_grad()
    def act(self, z: Float[Tensor, "b d"], goal: Float[Tensor, "b d"]) -> Float[Tensor, "b a"]:
        """The next block, normalised; as many steps remain as the reachability says."""
        return self.direct(z, goal, self.reach(z, goal))


def load_goal_networks(run: Path, world: str | None = None) -> GoalNetworks | None:
    """What `isojepa world direct` has trained for a run, in eval mode, on the CPU; None without.

    Args:
        world: digest of the run's weights, with which they have to agree.

    Raises:
        UserError: if they are damaged, or belong to other weights.
    """
    folder = run / FOLDER
    if not (folder / WEIGHTS).is_file():
        return None
    sizes = from_json(GoalSizes, read_run(folder).policy, folder / CONFIG)
    if world is not None and sizes.world != world:
        raise UserError(
            f"{shown(folder)}: trained on other weights than {shown(run)} has now; train it anew: "
            f"isojepa world direct --run {shown(run)} --overwrite"
        )
    networks = GoalNetworks(sizes)
    with reading(folder / WEIGHTS, "weights"):
        networks.load_state_dict(load_file(folder / WEIGHTS))
    return networks.eval()


def weights_digest(run: Path) -> str:
    """Of a run's world model, in 16 characters."""
    weights = run / "world_model" / "model.safetensors"
    with reading(weights, "weights"):
        return hashlib.sha256(weights.read_bytes()).hexdigest()[:16]
