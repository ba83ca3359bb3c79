"""Policies towards image goals: planning with a world model, and the baselines beside it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.errors import UserError
from isojepa.randomness import seed_from
from isojepa.world.control.play import Seen
from isojepa.world.episodes.decoded import resize
from isojepa.world.learning.cloning import GoalPolicy
from isojepa.world.planners.costs import ModelRollout, Term, WeightedCost
from isojepa.world.planners.planners import Planner, shifted

Terms = list[tuple[float, Term]]
FRAMES_AT_ONCE = 128
FREE = (-torch.inf, torch.inf)


class Replanning(NamedTuple):
    """How plans are carried out."""

    horizon: int
    """Blocks planned."""
    execute: int
    """Blocks executed before planning anew."""
    history: int
    """Most frames, a block apart, that a plan starts from."""
    warm_start: bool
    """Begin the search at what is left of the last plan."""
    at_once: int
    """Episodes planned for together."""


class PlanningPolicy:
    """Model-predictive control: plan in the embedding, act for a while, look, plan anew.

    Args:
        model: a world model in eval mode; see `model.py`.
        planner: see `planners.py`.
        objective: goal embeddings (b, d) -> weighted terms of the cost.
        low: least value of each action dimension of the environment; likewise `high`. What lies
            beyond is cut when it is executed, and the past that the model is told is what was
            executed.
        bounded: plan within these bounds too.
        replanning: see there.
        seed: of the planner's draws.
    """

    def __init__(
        self,
        model: Any,
        planner: Planner,
        objective: Callable[[Any], Terms],
        *,
        low: Float[np.ndarray, " a"],
        high: Float[np.ndarray, " a"],
        replanning: Replanning,
        bounded: bool = True,
        seed: int = 0,
    ) -> None:
        self.model, self.planner, self.objective = model, planner, objective
        self.replanning, self.seed = replanning, seed
        self.device = next(model.parameters()).device
        self.bounds = tuple(
            torch.from_numpy(model.scale.normalise(np.tile(x, model.frame_skip).astype(np.float32)))
            .float()
            .to(self.device)
            for x in (low, high)
        )
        self.low, self.high = self.bounds
        if not bounded:
            self.low, self.high = (x.new_full(x.shape, end) for x, end in zip(self.bounds, FREE))
        self.total_seconds = 0.0
        """Spent planning, looking at frames left out."""
        self.total_plans = 0
        """Plans made, counted per episode."""
        self.total_evaluations = 0
        """Sequences tried."""

    def begin(self, goals: UInt8[np.ndarray, "b y x c"]) -> None:
        """See `play.Policy`."""
        goal = encode_frames(self.model, goals)
        self.terms = self.objective(goal)
        b, d = goal.shape
        self._z = goal.new_zeros(b, 0, d)
        self._actions = goal.new_zeros(b, 0, self.model.action_dim)
        self._plan = goal.new_zeros(b, self.replanning.horizon, self.model.action_dim)
        self._blocks = 0
        self._generator = torch.Generator().manual_seed(seed_from(self.seed, b))

    def act(self, seen: Seen) -> Float[np.ndarray, "n k a"]:
        """The next block of every episode."""
        rows = torch.from_numpy(seen.rows).to(self.device)
        into = self._blocks % self.replanning.execute
        if into == 0 or self.replanning.history > 1:
            self._remember(rows, seen.frames)
        if into == 0:
            self._replan(rows)
        block = self._plan[rows, into]
        self._blocks += 1
        keep = self.replanning.history - 1
        latest = torch.zeros_like(self._plan[:, :1])
        latest[rows, 0] = block.clamp(*self.bounds)  # as executed
        self._actions = torch.cat([self._actions, latest], 1)
        self._actions = self._actions[:, max(0, self._actions.shape[1] - keep) :]
        actions = self.model.scale.restore(block.cpu().numpy())
        return actions.reshape(len(rows), self.model.frame_skip, -1)

    def _remember(self, rows: Tensor, frames: np.ndarray) -> None:
        latest = self._z.new_zeros(len(self._plan), 1, self._z.shape[2])
        latest[rows, 0] = encode_frames(self.model, frames)
        self._z = torch.cat([self._z, latest], 1)[:, -self.replanning.history :]

    def _replan(self, rows: Tensor) -> None:
        horizon, execute, _, warm, at_once = self.replanning
        clock = time.perf_counter()
        for part in rows.split(at_once):
            past = self._actions[part][:, self._actions.shape[1] - self._z.shape[1] + 1 :]
            cost = WeightedCost(
                ModelRollout(self.model, self._z[part], past),
                [(weight, term.select(part)) for weight, term in self.terms],
            )
            plan = self.planner.plan(
                cost,
                b=len(part),
                h=horizon,
                a=self.model.action_dim,
                low=self.low,
                high=self.high,
                start=shifted(self._plan[part], execute) if warm and self._blocks else None,
                generator=self._generator,
            )
            self._plan[part] = plan.actions.detach()
            self.total_evaluations += int(plan.evaluations.sum())
        self.total_seconds += time.perf_counter() - clock
        self.total_plans += len(rows)


class ClonedPolicy:
    """Behaviour cloning: the block of actions that the policy gives for the frame and the goal.

    Args:
        policy: in eval mode; see `learning/cloning.py`.
    """

    def __init__(self, policy: GoalPolicy) -> None:
        self.policy = policy
        self.device = next(policy.parameters()).device

    def begin(self, goals: UInt8[np.ndarray, "b y x c"]) -> None:
        """See `play.Policy`."""
        self._goals = as_seen(goals, self.policy.spec.frame_size).to(self.device)

    @torch.no_grad()
    def act(self, seen: Seen) -> Float[np.ndarray, "n k a"]:
        """The next block of every episode."""
        spec = self.policy.spec
        now = as_seen(seen.frames, spec.frame_size).to(self.device)
        block = self.policy(now, self._goals[torch.from_numpy(seen.rows).to(self.device)])
        actions = spec.scale.restore(block.float().cpu().numpy())
        return actions.reshape(len(seen.rows), spec.frame_skip, -1)


class RandomPolicy:
    """Uniform within the action bounds, anew at every step."""

    def __init__(
        self, low: Float[np.ndarray, " a"], high: Float[np.ndarray, " a"], *, seed: int = 0
    ) -> None:
        self.low, self.high, self.seed = low, high, seed

    def begin(self, goals: UInt8[np.ndarray, "b y x c"]) -> None:
        """See `play.Policy`."""
        self._random = np.random.default_rng(seed_from(self.seed, len(goals)))

    def act(self, seen: Seen) -> Float[np.ndarray, "n k a"]:
        """One action each."""
        shape = (len(seen.rows), 1, len(self.low))
        return self._random.uniform(self.low, self.high, shape).astype(np.float32)


class ScriptedPolicy:
    """One action at a time from the environment's own quantities: an oracle, or a straight line."""

    def __init__(self, action: Callable[[Seen], np.ndarray]) -> None:
        self.action = action

    def begin(self, goals: UInt8[np.ndarray, "b y x c"]) -> None:
        """See `play.Policy`."""

    def act(self, seen: Seen) -> Float[np.ndarray, "n k a"]:
        """One action each."""
        return self.action(seen).astype(np.float32)[:, None]


class Line(NamedTuple):
    """How to move an agent in a straight line: its position, and its step under a full action."""

    column: str
    dimensions: int
    step: float


LINES = {"swm/TwoRoom-v1": Line("proprio", 2, 5.0), "swm/PushT-v1": Line("state", 2, 100.0)}


def straight_line(env_id: str, goals: list[Any]) -> ScriptedPolicy | None:
    """Go straight to the agent's position at the goal, whatever is between; None where unknown.

    Args:
        goals: rows of the data set, one per episode.
    """
    if env_id not in LINES:
        return None
    column, n, step = LINES[env_id]
    ends = np.stack([np.asarray(goal[column], np.float64)[:n] for goal in goals])

    def action(seen: Seen) -> np.ndarray:
        way = (ends[seen.rows] - seen.state[column][:, :n]) / step
        return way / np.maximum(1.0, np.linalg.norm(way, axis=1, keepdims=True))

    return ScriptedPolicy(action)


@torch.no_grad()
def encode_frames(model: Any, frames: UInt8[np.ndarray, "n y x c"]) -> Float[Tensor, "n d"]:
    """Embeddings of single frames, a batch at a time; see `as_seen`."""
    device = next(model.parameters()).device
    parts = []
    for part in np.array_split(frames, -(-len(frames) // FRAMES_AT_ONCE)):
        x = as_seen(part, model.frame_size).to(device)
        parts.append(model.encode(x[:, None])[:, 0].float())
    return torch.cat(parts)


def as_seen(frames: UInt8[np.ndarray, "n y x c"], size: int) -> UInt8[Tensor, "n c size size"]:
    """Frames as a model reads them; those of another size are resized.

    Raises:
        UserError: for frames that are not square.
    """
    if frames.shape[1] != frames.shape[2]:
        raise UserError(
            f"frames of {frames.shape[2]} x {frames.shape[1]} pixels; the model sees squares of "
            f"{size}: crop them first"
        )
    return torch.from_numpy(np.stack([resize(x, size) for x in frames])).permute(0, 3, 1, 2)
