"""What a user may say about an agent that learns."""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isojepa.runs.config import RunConfig
from isojepa.runs.settings import Said, as_paths, remembers, require, require_bounds
from isojepa.world.agent.objective import HEADS, Head, Teacher, Weights
from isojepa.world.model.norms import Norm
from isojepa.world.model.presets import preset

AT_LEAST_ONE = (
    "env_steps", "update_every", "batch_size", "frame_skip", "stack", "frame_size",
    "embedding_dim", "slices", "rollout", "members", "evaluate_every", "test_episodes", "capacity",
    "hold",
)  # fmt: skip
NOT_NEGATIVE = (
    "prediction", "lambd", "reward", "value", "policy", "entropy", "random_steps", "plan",
    "offline_updates", "explore", "explore_end", "weight_decay",
)  # fmt: skip
AT_MOST = {
    "env_steps": 10**10, "frame_size": 1024, "embedding_dim": 2**14, "stack": 16, "rollout": 100,
    "frame_skip": 1000, "plan": 50, "members": 100, "batch_size": 2**16, "slices": 2**20,
    "lambd": 1e6, "prediction": 1e6, "reward": 1e6, "value": 1e6, "policy": 1e6, "hold": 10**6,
    "capacity": 10**9,
}  # fmt: skip


@remembers
@dataclass(frozen=True, kw_only=True)
class LearnConfig(RunConfig, Weights):
    """Learn to act in an environment: representation, reward, value and policy together, from
    pixels. Only --env and --out are needed."""

    env: str
    """Gymnasium id of an environment that draws itself. Drawn fast: isojepa/TwoRoom-v0,
    isojepa/CartPole-v1, isojepa/ReacherEasy-v0, isojepa/CartpoleSwingup-v0."""
    option: tuple[str, ...] = ()
    """Arguments of the environment as NAME=VALUE, such as distractors=3."""
    env_steps: int = 100_000
    """Environment steps to act, chance included. With --resume, more than before goes on."""
    data: Path | None = None  # type: ignore[assignment]
    """Episodes to learn from first; of any environment with the same actions."""
    offline_updates: int = 1000
    """Updates on --data before the first step."""
    start_from: Path | None = None
    """Run of a world model, or of an agent, whose representation and predictor to start from."""

    preset: str = "lewm-micro"
    """Sizes of the world model: lewm-micro, lewm-small or lewm."""
    frame_size: int | None = None
    """Side of the frames in pixels. Default: the preset's."""
    embedding_dim: int | None = None
    """Numbers in an embedding. Default: the preset's."""
    norm: Norm = "group"
    """Of encoder and projectors: group, within each sample; batch, as published; or none."""
    stack: int = 2
    """Frames seen at once: one alone does not show velocities."""
    frame_skip: int = 1
    """Environment steps for which an action is held."""

    detach: tuple[Head, ...] = ("policy",)
    """Heads whose gradients end at the embedding: reward (with continuation), value, policy.
    Give none after the flag to let all through."""
    teacher: Teacher = "value"
    """Whom the policy follows: the values, or the plans."""

    plan: int = 3
    """Decisions planned ahead of each action; 0 acts by the value's choice, or the policy."""
    discount: float = 0.99
    """Per decision."""
    rollout: int = 5
    """Decisions of a training window; rewards of as many count before a value."""
    members: int = 3
    """Values in the ensemble."""
    follow: float = 0.01
    """Share of the way that the slow values move at each update."""

    batch_size: int = 32
    """Windows per update."""
    update_every: int = 4
    """Environment steps between two updates."""
    random_steps: int = 1000
    """Environment steps of chance before the first update."""
    explore: float = 1.0
    """At first: probability of a random choice, or deviation of the noise on numbers."""
    explore_end: float = 0.05
    """The same from --explore-until on."""
    explore_until: int | None = None
    """Environment step. Default: a tenth of --env-steps."""
    hold: int = 1
    """Decisions for which a random draw is held."""
    capacity: int = 100_000
    """Decisions remembered; a frame of 64 px takes 12 kB of disk."""
    lr: float = 5e-4
    """Learning rate, after a warm-up of 200 updates."""
    weight_decay: float = 1e-4
    """Of AdamW, on weights but not on norms and biases."""
    slices: int = 256
    """Random directions of SIGReg per update and time step."""

    log_every: int = 100
    """Updates between two lines of metrics.jsonl."""
    evaluate_every: int | None = None
    """Environment steps between two evaluations. Default: a tenth of --env-steps."""
    test_episodes: int = 10
    """Episodes of an evaluation."""

    may_differ = RunConfig.may_differ | {"evaluate_every"}

    def __post_init__(self, said: Said) -> None:
        super().__post_init__(said)
        as_paths(self, "start_from")
        require_bounds(self, AT_LEAST_ONE, AT_MOST)
        for name in NOT_NEGATIVE:
            require(getattr(self, name) >= 0, f"--{name.replace('_', '-')} must not be negative")
        preset(self.preset)
        parse_options(self.option)
        unknown = set(self.detach) - set(HEADS)
        require(not unknown, f"--detach {' '.join(unknown)}: expected some of {', '.join(HEADS)}")
        require(0 < self.discount < 1, "--discount must lie in (0, 1)")
        require(0 < self.follow <= 1, "--follow must lie in (0, 1]")
        require(self.lr > 0, "--lr must be positive")
        require(self.devices == 1, "--devices: an agent acts and learns in one process")
        require(
            self.teacher == "value" or self.plan > 0,
            "--teacher planner needs plans: give --plan at least 1",
        )
        least = self.random_steps // self.frame_skip
        require(
            self.data is not None or least > self.rollout + 1,
            f"--random-steps {self.random_steps}: too few for windows of {self.rollout} decisions "
            f"of {self.frame_skip} steps",
        )
        require(
            self.env_steps > self.random_steps,
            f"--env-steps {self.env_steps}: nothing is learnt within --random-steps "
            f"{self.random_steps}; give more",
        )
        require(
            self.capacity > 2 * self.rollout, f"--capacity {self.capacity}: too few to learn from"
        )


def parse_options(options: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE as arguments; values are Python's literals, or else text.

    Raises:
        UserError: for anything else.
    """
    found: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        require(bool(equals) and name.isidentifier(), f"--option {text}: expected NAME=VALUE")
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            found[name] = value
    return found
