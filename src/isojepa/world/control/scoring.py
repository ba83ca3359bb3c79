"""Play the pairs of one seed with a policy: the planning one, or a baseline."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.randomness import seed_from
from isojepa.world.control.config import PlanConfig, Prepared
from isojepa.world.control.films import Film
from isojepa.world.control.pairs import Pairs, draw_pairs
from isojepa.world.control.play import Policy, Seen, play
from isojepa.world.control.policies import (
    PlanningPolicy,
    RandomPolicy,
    Replanning,
    ScriptedPolicy,
    straight_line,
)
from isojepa.world.control.recipes import objective
from isojepa.world.control.stage import PlatformStage
from isojepa.world.environments.environments import (
    Environment,
    Row,
    close,
    make_environments,
)
from isojepa.world.episodes.trajectories import Trajectories

BASELINES = ("random", "straight line", "oracle")
AT_ONCE = 50  # environments at once, and episodes planned for together


class Part(NamedTuple):
    """What a policy may be made from: some of the pairs, set up."""

    low: np.ndarray
    """Least value of each action dimension of the environment; likewise `high`."""
    high: np.ndarray
    world: Any
    """The platform's World: for scripted policies only."""
    goals: list[Row]
    """Rows of the data set."""
    seed: int


class Scored(NamedTuple):
    """How one policy did on the pairs of one seed."""

    success: Bool[np.ndarray, " n"]
    distance: Float[np.ndarray, " n"]
    steps: Int64[np.ndarray, " n"]
    plans: int
    """Plans made, counted per episode."""
    plan_seconds: float
    """Mean time per plan of one episode."""
    evaluations: float
    """Mean number of sequences tried per plan."""
    cut: float
    """Share of the actions that lay beyond the environment's bounds and were cut to them."""
    film: Film | None = None


def success_of(prepared: Prepared, *, seed: int, films: int = 0) -> Scored:
    """Play one seed's pairs with the planning policy; `films` of the first episodes are filmed."""
    policies: list[PlanningPolicy] = []

    def make(part: Part) -> Policy:
        policy = planning_policy(prepared, part.low, part.high, seed=part.seed)
        policies.append(policy)
        return policy

    scored = score(prepared, make, seed=seed, words="planning", films=films)
    assert scored is not None
    seconds = sum(p.total_seconds for p in policies)
    plans = max(1, sum(p.total_plans for p in policies))
    tried = sum(p.total_evaluations for p in policies)
    return scored._replace(plans=plans, plan_seconds=seconds / plans, evaluations=tried / plans)


def baseline_of(prepared: Prepared, name: str, *, seed: int) -> Scored | None:
    """Play one seed's pairs with a baseline; None where the environment has none."""
    known = prepared.known
    if name == "oracle" and known.oracle is None:
        return None

    def make(part: Part) -> Policy | None:
        if name == "random":
            return RandomPolicy(part.low, part.high, seed=part.seed)
        if name == "straight line":
            return straight_line(known.id, part.goals)
        assert known.oracle is not None
        scripted = known.oracle(seed)
        scripted.set_env(part.world.envs)

        def action(seen: Seen) -> np.ndarray:
            return np.asarray(scripted.get_action(part.world.infos))[seen.rows]

        return ScriptedPolicy(action)

    return score(prepared, make, seed=seed, words=name)


def planning_policy(
    prepared: Prepared, low: np.ndarray, high: np.ndarray, *, seed: int
) -> PlanningPolicy:
    """The policy that plans by the prepared recipe within the environment's action bounds."""
    recipe = prepared.recipe
    return PlanningPolicy(
        prepared.model,
        recipe.planner,
        partial(objective, recipe, graph=prepared.graph),
        low=low,
        high=high,
        bounded=recipe.bounded,
        replanning=Replanning(recipe.horizon, recipe.execute, recipe.history, True, AT_ONCE),
        seed=seed,
    )


def score(
    prepared: Prepared,
    make: Callable[[Part], Policy | None],
    *,
    seed: int,
    words: str,
    films: int = 0,
) -> Scored | None:
    """Play one seed's pairs, AT_ONCE of them at a time, with a policy made for each part.

    Args:
        prepared: see `plan_config.prepare`.
        make: the policy; None where there is none, which ends it with None.
        seed: of the pairs.
        words: shown beside the progress bar.
        films: how many of the first episodes to film.
    """
    config, known, data = prepared.config, prepared.known, prepared.trajectories
    pairs = pairs_of(config, known, data, prepared.episodes, seed=seed)
    starts, goals = (_rows(pairs.states(data, goal=g)) for g in (False, True))
    success, steps, plans, seconds = [], [], 0, 0.0
    taken, cut, film = 0, 0, None
    n = len(starts)
    world: Any = None
    with bar(config.budget * -(-n // AT_ONCE), words) as advance:
        for first in range(0, n, AT_ONCE):
            part = slice(first, min(first + AT_ONCE, n))
            b = part.stop - part.start
            if world is None or world.num_envs != b:
                if world is not None:
                    close(world)
                world = make_environments(known.id, b, frame_size=prepared.model.frame_size)
                _check_actions(world, prepared)
            seeds = [seed_from(seed, i) % 2**31 for i in range(part.start, part.stop)]
            stage = PlatformStage(world, starts[part], goals[part], seeds=seeds)
            policy = make(Part(stage.low, stage.high, world, goals[part], seed_from(seed, first)))
            if policy is None:
                close(world)
                return None
            policy.begin(stage.goal_frames)
            record = films if first == 0 else 0
            played = play(stage, policy, b=b, budget=config.budget, record=record, advance=advance)
            if record:
                k = len(played.films)
                film = Film(played.films, stage.goal_frames[:k], played.success[:k])
            taken, cut = taken + stage.taken, cut + stage.cut
            success.append(played.success)
            steps.append(played.steps)
            plans, seconds = plans + played.decisions, seconds + played.seconds
    if world is not None:
        close(world)
    return Scored(
        np.concatenate(success), pairs.distance, np.concatenate(steps), plans,
        seconds / max(1, plans), 0.0, cut / max(1, taken), film,
    )  # fmt: skip


def pairs_of(
    config: PlanConfig,
    known: Environment,
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    *,
    seed: int,
) -> Pairs:
    """The pairs of one seed, drawn from these episodes by the protocol.

    Raises:
        UserError: if there are too few, or the data lack a column of the environment's state.
    """
    missing = [name for name in known.needs if name not in trajectories.columns]
    if missing:
        raise UserError(
            f"the data set lacks the column {missing[0]!r}, which sets the environment's state"
        )
    strict = config.protocol == "strict"
    return draw_pairs(
        trajectories,
        episodes,
        count=config.pairs,
        offset=config.offset,
        seed=seed,
        distance=known.distance,
        solved=known.solved if strict else None,
    )


def _rows(states: dict[str, np.ndarray]) -> list[Row]:
    n = len(next(iter(states.values())))
    return [{name: np.asarray(values[i]) for name, values in states.items()} for i in range(n)]


def _check_actions(world: Any, prepared: Prepared) -> None:
    shape = world.envs.single_action_space.shape
    if shape != (prepared.trajectories.action_dim,):
        raise UserError(
            f"{prepared.known.id}: its actions have {shape[-1]} dimensions, those of the data and "
            f"the model {prepared.trajectories.action_dim}"
        )
