"""The agent: a world model, and heads that read its embeddings."""

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from safetensors.torch import load_file, save
from torch import Tensor, nn

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.folder import write_json
from isojepa.runs.typed import read_json
from isojepa.world.agent.heads import ContinuationHead, PolicyHead, RewardHead, ValueHeads
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.world_model import WorldModel

FOLDER = "agent"


@dataclass(frozen=True, kw_only=True)
class AgentSpec:
    """All that is needed to rebuild an agent, its weights apart."""

    world: WorldModelSpec
    env: str
    discrete: bool
    a: int
    """Numbers in an action, or choices."""
    low: tuple[float, ...]
    """Of the environment's actions, likewise `high`; an action of the agent lies in [-1, 1]."""
    high: tuple[float, ...]
    stack: int
    """Frames that are seen at once, the newest last."""
    hidden: int = 256
    """Width of the heads."""
    bins: int = 101
    members: int = 3
    """Values in the ensemble."""
    discount: float = 0.99
    """Per decision."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "AgentSpec":
        """The inverse of `as_json`."""
        world = WorldModelSpec.from_json(values["world"])
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k != "world"
        }
        return cls(world=world, **given)


class States(NamedTuple):
    """What a world model makes of windows of t frames."""

    z: Float[Tensor, "b t d"]
    predicted: Float[Tensor, "b p d"]
    """Item i predicts z[:, i + 1] from real embeddings up to i; p = t - 1."""
    rolled: Float[Tensor, "b p d"]
    """Item i predicts z[:, i + 1] from z[:, 0] alone, open loop."""


class Agent(nn.Module):
    """A world model with reward, continuation, values and a policy prior on its embeddings.

    An action is held for the `frame_skip` environment steps between two frames.

    Shape:
        frames (b, t, 3 k, y, x), k stacked, uint8 or floats in [0, 1]; actions (b, t, a) in
        [-1, 1] or one-hot; z (b, t, d).
    """

    def __init__(self, spec: AgentSpec) -> None:
        super().__init__()
        self.spec = spec
        d, a, hidden, bins = spec.world.embedding_dim, spec.a, spec.hidden, spec.bins
        self.world = WorldModel(spec.world)
        self.reward = RewardHead(d, a, hidden, bins)
        self.continuation = ContinuationHead(d, a, hidden)
        self.values = ValueHeads(d, a, hidden, bins, spec.members, discrete=spec.discrete)
        self.policy = PolicyHead(d, a, hidden, discrete=spec.discrete)
        self.slow_values = copy.deepcopy(self.values).requires_grad_(False)
        low, high = torch.tensor(spec.low), torch.tensor(spec.high)
        scale = spec.world.scale
        factor, offset = torch.ones(a), torch.zeros(a)
        if not spec.discrete:
            factor = (high - low) / 2 / scale.std
            offset = ((high + low) / 2 - scale.mean) / scale.std
        self.register_buffer("factor", factor, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    factor: Tensor
    offset: Tensor

    def forward(
        self, frames: Shaped[Tensor, "b t c y x"], actions: Float[Tensor, "b t a"]
    ) -> States:
        """Embed windows, predict each embedding from the one before and all from the first."""
        z, blocks = self.world.encode(frames), self.blocks(actions)
        predicted = self.world.predict(z[:, :-1], blocks[:, :-1])
        rolled = self.world.rollout(z[:, :1], blocks[:, :0], blocks[:, None, :-1])[:, 0]
        return States(z, predicted, rolled)

    def encode(self, frames: Shaped[Tensor, "b t c y x"]) -> Float[Tensor, "b t d"]:
        """Embeddings of stacked frames."""
        return self.world.encode(frames)

    def blocks(self, actions: Float[Tensor, "*n a"]) -> Float[Tensor, "*n block"]:
        """Actions as the world model takes them: in its units, held for a block."""
        unit = actions * self.factor + self.offset
        return unit.repeat(*[1] * (unit.ndim - 1), self.world.frame_skip)

    def imagine(
        self, z: Float[Tensor, "b d"], actions: Float[Tensor, "b s h a"]
    ) -> Float[Tensor, "b s h d"]:
        """What candidates of actions lead to, from the embedding of what is seen now."""
        blocks = self.blocks(actions)
        return self.world.rollout(z[:, None], blocks[:, 0, :0], blocks)

    def best_value(self, z: Float[Tensor, "*n d"]) -> Float[Tensor, "*n"]:
        """The value of a state under the greedy choice, or the policy's; the ensemble's mean."""
        if self.spec.discrete:
            return self.values.two_hot.decode(self.values.of_all(z)).mean(0).amax(-1)
        return self.values.two_hot.decode(self.values(z, self.policy.mode(z))).mean(0)

    @torch.no_grad()
    def follow(self, rate: float) -> None:
        """Move the slow values towards the values by this share of the way."""
        for slow, fast in zip(self.slow_values.parameters(), self.values.parameters()):
            slow.lerp_(fast, rate)


def export_agent(folder: Path, agent: Agent) -> None:
    """Write the agent so that `load_agent(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    weights = {name: x.detach().cpu().contiguous() for name, x in agent.state_dict().items()}
    write_atomically(folder / "model.safetensors", save(weights))
    write_json(folder / "config.json", agent.spec.as_json())


def load_agent(path: str | Path) -> Agent:
    """Load a trained agent, in eval mode, on the CPU.

    Args:
        path: a run folder of `isojepa world learn`, or its `agent` folder.

    Raises:
        UserError: if there is none, or its files are damaged.
    """
    folder = Path(path)
    if (folder / FOLDER / "config.json").is_file():
        folder = folder / FOLDER
    if not all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
        raise UserError(f"{shown(path)}: no agent here (agent/config.json is missing)")
    config, weights = folder / "config.json", folder / "model.safetensors"
    with reading(config, "an agent's settings"):
        agent = Agent(AgentSpec.from_json(read_json(config)))  # type: ignore[arg-type]
    with reading(weights, "an agent's weights"):
        agent.load_state_dict(load_file(weights))
    return agent.eval()
