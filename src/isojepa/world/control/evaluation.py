"""The pairs of one seed given to a policy: the planning one, or a baseline."""

from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.randomness import seed_from
from isojepa.world.control.config import Control, PlanConfig
from isojepa.world.control.pairs import Pairs, draw_pairs
from isojepa.world.control.planning import AT_ONCE, PlanningPolicy
from isojepa.world.control.policy import Observation, VectorPolicy
from isojepa.world.control.scripted import RandomPolicy, ScriptedPolicy, straight_line
from isojepa.world.control.vector_env import PlatformEnv, platform_envs, run_episodes
from isojepa.world.control.videos import Video
from isojepa.world.environments.environment import Environment, Row
from isojepa.world.episodes.trajectories import Trajectories

BASELINES = ("random", "straight line", "oracle")
MakePolicy = Callable[[PlatformEnv, int], VectorPolicy | None]
"""From some of the pairs, set up, and a seed; None where the environment has no such policy."""


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
    video: Video | None = None


def success_of(control: Control, *, seed: int, films: int = 0) -> Scored:
    """How the planning policy does; `films` of the first episodes are filmed."""
    policies: list[PlanningPolicy] = []

    def make(env: PlatformEnv, seed: int) -> VectorPolicy:
        policies.append(control.policy(env.low, env.high, seed=seed))
        return policies[-1]

    scored = evaluate_policy(control, make, seed=seed, words="planning", films=films)
    assert scored is not None
    seconds = sum(p.total_seconds for p in policies)
    plans = max(1, sum(p.total_plans for p in policies))
    tried = sum(p.total_evaluations for p in policies)
    return scored._replace(plans=plans, plan_seconds=seconds / plans, evaluations=tried / plans)


def baseline_of(control: Control, name: str, *, seed: int) -> Scored | None:
    """How a baseline does; None where the environment has none."""
    known = control.known
    if name == "oracle" and known.oracle is None:
        return None

    def make(env: PlatformEnv, part: int) -> VectorPolicy | None:
        if name == "random":
            return RandomPolicy(env.low, env.high, seed=part)
        if name == "straight line":
            return straight_line(known.id, env.goals)
        assert known.oracle is not None
        policy = known.oracle(seed)
        policy.set_env(env.world.envs)

        def script(observation: Observation) -> np.ndarray:
            return np.asarray(policy.get_action(env.world.infos))[observation.rows]

        return ScriptedPolicy(script)

    return evaluate_policy(control, make, seed=seed, words=name)


def evaluate_policy(
    control: Control, make: MakePolicy, *, seed: int, words: str, films: int = 0
) -> Scored | None:
    """Let a policy act on one seed's pairs, AT_ONCE of them at a time; one is made for each part.

    Args:
        control: see `open_control`.
        make: the policy; None ends it with None.
        seed: of the pairs.
        words: shown beside the progress bar.
        films: how many of the first episodes to film.
    """
    config, data = control.config, control.trajectories
    pairs = pairs_of(config, control.known, data, control.episodes, seed=seed)
    starts, goals = (_rows(pairs.states(data, goal=g)) for g in (False, True))
    envs = platform_envs(
        control.known.id, starts, goals,
        at_once=AT_ONCE, frame_size=control.model.frame_size, seed=seed,
    )  # fmt: skip
    outcomes, taken, cut, video = [], 0, 0, None
    total = config.budget * -(-len(starts) // AT_ONCE)
    with bar(total, words) as advance, closing(envs):
        for first, env in envs:
            _check_actions(env, control)
            policy = make(env, seed_from(seed, first))
            if policy is None:
                return None
            b, record = len(env.goals), 0 if first else films
            policy.begin(b, env.goal_frames)
            outcome = run_episodes(
                env, policy, b=b, budget=config.budget, record=record, advance=advance
            )
            if record:
                k = len(outcome.recorded)
                video = Video(outcome.recorded, env.goal_frames[:k], outcome.success[:k])
            taken, cut = taken + env.taken, cut + env.cut
            outcomes.append(outcome)
    plans = sum(one.decisions for one in outcomes)
    seconds = sum(one.seconds for one in outcomes)
    success, steps = (np.concatenate(x) for x in list(zip(*outcomes))[:2])
    return Scored(
        success, pairs.distance, steps, plans,
        seconds / max(1, plans), 0.0, cut / max(1, taken), video,
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


def _check_actions(env: PlatformEnv, control: Control) -> None:
    given, known = env.low.shape[-1], control.trajectories.action_dim
    if given != known:
        raise UserError(
            f"{control.known.id}: its actions have {given} dimensions, those of the data and "
            f"the model {known}"
        )
