"""Model-predictive control: plan in the embedding, act for a while, look, plan anew."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.devices import Device, choose_device
from isojepa.errors import UserError
from isojepa.world.control.direct import DirectGoalPolicy, Waypoints, gains_enough, imagined_plan
from isojepa.world.control.frames import encode_frames
from isojepa.world.control.policy import Observation, VectorPolicy, seeds_for
from isojepa.world.control.recipes import OURS, ControlRecipe, adapted, objective
from isojepa.world.learning.goal_networks import (
    FOLDER,
    GoalNetworks,
    load_goal_networks,
    weights_digest,
)
from isojepa.world.learning.whitening import FILE as WHITENING
from isojepa.world.learning.whitening import load_whitening
from isojepa.world.model.latent import LatentModel
from isojepa.world.model.world_model import WorldModel, load_world_model
from isojepa.world.planners.costs import ModelRollout, Terms, WeightedCost
from isojepa.world.planners.distances import EmbeddingGraph
from isojepa.world.planners.problem import EpisodeGenerators, Planner, Problem, shifted

log = logging.getLogger(__name__)
AT_ONCE = 50  # episodes planned for together


class PlanningPolicy(VectorPolicy):
    """Plans towards image goals, carries out some of the plan, looks and plans anew.

    Args:
        model: in eval mode.
        planner: searches the action sequences.
        objective: goal embeddings (b, d) -> weighted terms of the cost.
        low: least value of each action dimension of the environment; likewise `high`. What lies
            beyond is cut when it is executed, and the past that the model is told is what was
            executed.
        bounded: plan within these bounds too.
        horizon: blocks planned.
        execute: blocks executed before planning anew.
        history: most frames, a block apart, that a plan starts from.
        warm_start: begin the search at what is left of the last plan.
        at_once: episodes planned for together.
        seed: of the planner's draws, which are apart for each episode; or one for each.
    """

    def __init__(
        self,
        model: LatentModel,
        planner: Planner,
        objective: Callable[[Tensor], Terms],
        *,
        low: Float[np.ndarray, " a"],
        high: Float[np.ndarray, " a"],
        bounded: bool = True,
        horizon: int = 5,
        execute: int = 1,
        history: int = 1,
        warm_start: bool = True,
        at_once: int = AT_ONCE,
        seed: int | Sequence[int] = 0,
    ) -> None:
        self.propose: Callable[[Tensor, Tensor, int], Tensor] | None = None
        """(embeddings (b, d), goals (b, d), horizon) -> where to begin the search, in place of the
        last plan."""
        self.trusts: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
        """(embeddings, goals, what was proposed (b, h, a)) -> whether to do it unsearched (b,)."""
        self.waypoints: Waypoints | None = None
        """What to aim at on the way to far goals."""
        self.model, self.planner, self.objective = model, planner, objective
        self.horizon, self.execute, self.history = horizon, execute, history
        self.warm_start, self.at_once, self.seed = warm_start, at_once, seed
        self.bounds, self.discrete = (low, high), False
        """The largest entry of an action is a choice: then what is predicted is of that choice."""
        self.low, self.high = (
            torch.from_numpy(model.scale.normalise(np.tile(x, model.frame_skip).astype(np.float32)))
            .float()
            .to(model.device)
            for x in (low, high)
        )
        free = torch.full_like(self.low, torch.inf)
        self.within = (self.low, self.high) if bounded else (-free, free)

    def begin(self, b: int, goals: UInt8[np.ndarray, "b y x c"] | None) -> None:
        """See `VectorPolicy`.

        Raises:
            UserError: without goals.
        """
        if goals is None:
            raise UserError("planning needs a goal: give the policy an image of what it shall see")
        goal = encode_frames(self.model, goals)
        self.terms, self._goals = self.objective(goal), goal
        self._z = goal.new_zeros(b, 0, goal.shape[1])
        self._actions = goal.new_zeros(b, 0, self.model.action_dim)
        self._plan = goal.new_zeros(b, self.horizon, self.model.action_dim)
        self._blocks = 0
        self._generators = EpisodeGenerators.seeded(seeds_for(self.seed, b))

    def actions(self, observation: Observation) -> Float[np.ndarray, "n k a"]:
        """The next block of every episode."""
        rows = torch.from_numpy(observation.rows).to(self.model.device)
        into = self._blocks % self.execute
        if into == 0 or self.history > 1:
            self._remember(rows, observation.frames)
        if into == 0:
            self._replan(rows)
        block = self._plan[rows, into]
        self._blocks += 1
        keep = self.history - 1
        latest = torch.zeros_like(self._plan[:, :1])
        latest[rows, 0] = block.clamp(self.low, self.high)  # as executed
        if self.discrete:
            latest = self._chosen(latest)
        self._actions = torch.cat([self._actions, latest], 1)
        self._actions = self._actions[:, max(0, self._actions.shape[1] - keep) :]
        actions = self.model.scale.restore(block.cpu().numpy())
        return actions.reshape(len(rows), self.model.frame_skip, -1)

    def _chosen(self, blocks: Float[Tensor, "*b a"]) -> Float[Tensor, "*b a"]:
        """Blocks with 1 for the choice of each step and 0 else; gradients pass as if unchanged."""
        scale, skip = self.model.scale, self.model.frame_skip
        steps = scale.restore(blocks).unflatten(-1, (skip, -1))
        choice = torch.nn.functional.one_hot(steps.argmax(-1), steps.shape[-1]).to(blocks)
        return scale.normalise(choice.flatten(-2)) + blocks - blocks.detach()

    def _remember(self, rows: Tensor, frames: np.ndarray) -> None:
        latest = self._z.new_zeros(len(self._plan), 1, self._z.shape[2])
        latest[rows, 0] = encode_frames(self.model, frames)
        self._z = torch.cat([self._z, latest], 1)[:, -self.history :]

    def _replan(self, rows: Tensor) -> None:
        clock = time.perf_counter()
        for part in rows.split(self.at_once):
            now, goals, last = self._z[part][:, -1], self._goals[part], self._plan[part]
            if self.waypoints is not None:
                goals = self.waypoints(now, goals)
            start = shifted(last, self.execute) if self.warm_start else torch.zeros_like(last)
            if self.propose is not None:
                start = self.propose(now, goals, self.horizon)
            if self.trusts is not None:
                self._plan[part] = start
                unsure = ~self.trusts(now, goals, start)
                part, goals, start = part[unsure], goals[unsure], start[unsure]
            if not len(part):
                continue
            terms = [(weight, term.select(part)) for weight, term in self.terms]
            if self.waypoints is not None:
                terms = self.objective(goals)
            past = self._actions[part][:, self._actions.shape[1] - self._z.shape[1] + 1 :]
            cost = WeightedCost(
                ModelRollout(
                    self.model, self._z[part], past, self._chosen if self.discrete else None
                ),
                terms,
            )
            plan = self.planner.plan(
                cost, Problem(start, *self.within), self._generators.select(part)
            )
            self._plan[part] = plan.actions.detach()
            self.total_evaluations += int(plan.evaluations.sum())
        self.total_seconds += time.perf_counter() - clock
        self.total_plans += len(rows)


def planning_policy(
    model: LatentModel,
    recipe: ControlRecipe,
    low: Float[np.ndarray, " a"],
    high: Float[np.ndarray, " a"],
    *,
    graph: EmbeddingGraph | None = None,
    networks: GoalNetworks | None = None,
    waypoints: Waypoints | None = None,
    whitening: Tensor | None = None,
    seed: int | Sequence[int] = 0,
    discrete: bool = False,
) -> PlanningPolicy:
    """The policy that plans by a recipe within an environment's action bounds.

    Args:
        graph: for the geodesic distance; see `build_graph`.
        networks: for searches that begin at the direct policy, or that count learnt steps.
        waypoints: for sub-goals.
        whitening: for the whitened distance, see `fit_whitening`; without it, the Euclidean one.
        discrete: whether the largest entry of an action is a choice.
    """
    if whitening is not None:
        whitening = whitening.to(model.device)
    policy = PlanningPolicy(
        model,
        recipe.planner,
        partial(objective, recipe, graph=graph, networks=networks, whitening=whitening),
        low=low,
        high=high,
        bounded=recipe.bounded,
        horizon=recipe.horizon,
        execute=recipe.execute,
        history=recipe.history,
        seed=seed,
    )
    policy.discrete, policy.waypoints = discrete, waypoints
    if recipe.seeded:
        assert networks is not None
        policy.propose = partial(imagined_plan, model, networks)
        if recipe.trust:
            policy.trusts = partial(gains_enough, model, networks, recipe.trust)
    return policy


def open_policy(
    run: str | Path,
    *,
    low: Sequence[int | float] | np.ndarray,
    high: Sequence[int | float] | np.ndarray,
    recipe: ControlRecipe = OURS,
    device: Device = "auto",
    seed: int = 0,
) -> PlanningPolicy:
    """A trained world model as a policy that plans towards image goals.

    Args:
        run: run folder of `isojepa world train`, its `world_model` folder, or a copy of that.
        low: least value of each action dimension; likewise `high`.
        recipe: how to plan; not by the geodesic distance, which needs the training frames.
        seed: of the planner's draws.

    Raises:
        UserError: if there is no model, or it has other actions than these.
    """
    model, bounds = _opened(run, low, high, device)
    recipe, matrix = adapted(recipe, {}, frame_skip=model.frame_skip), load_whitening(run)
    if recipe.distance == "whitened" and matrix is None:
        log.warning("%s has no %s: planning by the Euclidean distance", run, WHITENING)
    return planning_policy(model, recipe, *bounds, whitening=matrix, seed=seed)


def load_policy(
    run: str | Path,
    low: Sequence[int | float] | np.ndarray,
    high: Sequence[int | float] | np.ndarray,
    *,
    device: Device = "auto",
    seed: int = 0,
) -> VectorPolicy:
    """A trained run as a policy for a robot's loop: `reset()`, then `act(frame, goal)` each step.

    It is the direct policy if `isojepa world direct` has trained one for the run, and plans by the
    default recipe if not.

    Args:
        run: run folder of `isojepa world train`.
        low: least value of each action dimension; likewise `high`.
        seed: of the planner's draws.

    Raises:
        UserError: if there is no model, it has other actions than these, or the direct policy
            belongs to other weights.
    """
    folder = Path(run)
    if not (folder / FOLDER).is_dir():
        return open_policy(run, low=low, high=high, device=device, seed=seed)
    model, (least, most) = _opened(run, low, high, device)
    networks = load_goal_networks(folder, weights_digest(folder))
    if networks is None:
        return open_policy(run, low=low, high=high, device=device, seed=seed)
    return DirectGoalPolicy(model, networks.to(model.device), low=least, high=most)


def _opened(
    run: str | Path,
    low: Sequence[int | float] | np.ndarray,
    high: Sequence[int | float] | np.ndarray,
    device: Device,
) -> tuple[WorldModel, tuple[np.ndarray, np.ndarray]]:
    """The model for planning, and the bounds that fit it."""
    model = load_world_model(run).to(choose_device(device)).for_planning()
    least, most = (np.asarray(x, np.float32) for x in (low, high))
    given = sorted({x.size * model.frame_skip for x in (least, most)})
    if given != [model.action_dim]:
        raise UserError(
            f"{run}: the model's actions have {model.action_dim // model.frame_skip} dimensions; "
            f"low and high have {' and '.join(str(x.size) for x in (least, most))}"
        )
    if not (least < most).all():
        raise UserError(f"low has to be below high in every dimension; they are {low} and {high}")
    return model, (least, most)
