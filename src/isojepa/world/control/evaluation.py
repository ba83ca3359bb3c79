"""The pairs of one seed given to a policy: the planning one, or a baseline."""

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.world.control.config import Control, PlanConfig
from isojepa.world.control.outcomes import Keeper, PairOutcome, PlayedPairs
from isojepa.world.control.pairs import Pairs, draw_pairs, draw_walled_pairs
from isojepa.world.control.planning import AT_ONCE
from isojepa.world.control.policy import Observation, VectorPolicy
from isojepa.world.control.scripted import RandomPolicy, ScriptedPolicy, straight_line
from isojepa.world.control.vector_env import Outcome, PlatformEnv, Stage, run_episodes
from isojepa.world.control.videos import Video
from isojepa.world.environments.environment import Environment, Row
from isojepa.world.episodes.trajectories import Trajectories

PLANNING = "plan"
BASELINES = ("random", "straight line", "oracle")
MakePolicy = Callable[[PlatformEnv, Sequence[int]], VectorPolicy | None]
"""From some of the pairs, set up, and a seed for each; None where the environment has no such
policy."""


class Scored(NamedTuple):
    """How one policy did on the pairs of one seed."""

    success: Bool[np.ndarray, " n"]
    """By the environment's own rule."""
    distance: Float[np.ndarray, " n"]
    steps: Int64[np.ndarray, " n"]
    strict: Bool[np.ndarray, " n"] | None
    """By the strict rule; None where there is none."""
    strict_steps: Int64[np.ndarray, " n"]
    pairs: Pairs
    plans: int
    """Plans made, counted per episode."""
    plan_seconds: float
    """Mean time per plan of one episode."""
    evaluations: float
    """Mean number of sequences tried per plan."""
    cut: float
    """Share of the actions that lay beyond the environment's bounds and were cut to them."""
    video: Video | None = None


def success_of(
    control: Control,
    *,
    seed: int,
    films: int = 0,
    pairs: Pairs | None = None,
    keeper: Keeper | None = None,
) -> Scored:
    """How the planning policy does; `films` of the first episodes are filmed."""

    def make(env: PlatformEnv, seeds: Sequence[int]) -> VectorPolicy:
        return control.policy(env.low, env.high, seed=seeds, discrete=env.acts.discrete)

    scored = evaluate_policy(
        control, make, seed=seed, words=PLANNING, films=films, pairs=pairs, keeper=keeper
    )
    assert scored is not None
    return scored


def baseline_of(
    control: Control,
    name: str,
    *,
    seed: int,
    pairs: Pairs | None = None,
    keeper: Keeper | None = None,
) -> Scored | None:
    """How a baseline does; None where the environment has none."""
    known = control.known
    if name == "oracle" and known.oracle is None:
        return None

    def make(env: PlatformEnv, seeds: Sequence[int]) -> VectorPolicy | None:
        if name == "random":
            return RandomPolicy(env.low, env.high, seed=seeds)
        if name == "straight line":
            return straight_line(known.id, env.goals)
        assert known.oracle is not None
        policy = known.oracle(seed)
        policy.set_env(env.world.envs)

        def script(observation: Observation) -> np.ndarray:
            return np.asarray(policy.get_action(env.world.infos))[observation.rows]

        return ScriptedPolicy(script)

    return evaluate_policy(control, make, seed=seed, words=name, pairs=pairs, keeper=keeper)


def evaluate_policy(
    control: Control,
    make: MakePolicy,
    *,
    seed: int,
    words: str,
    films: int = 0,
    pairs: Pairs | None = None,
    keeper: Keeper | None = None,
) -> Scored | None:
    """Let a policy act on one seed's pairs, AT_ONCE of them at a time; one is made for each part.

    Args:
        control: see `open_control`.
        make: the policy; None ends it with None.
        seed: of the pairs, and of all that is drawn while they are played.
        words: the policy's name, also shown beside the progress bar.
        films: how many of the first episodes to film.
        pairs: by default those that the configuration asks for.
        keeper: keeps what is played, and has what was; the part that is filmed is played anew.
    """
    if pairs is None:
        pairs = pairs_of(
            control.config, control.known, control.trajectories, control.episodes, seed=seed
        )
    batches, video, n = [], None, len(pairs.start)
    parts = [np.arange(n)[first : first + AT_ONCE] for first in range(0, n, AT_ONCE)]
    budget = control.config.budget
    stage = Stage(
        control.known.id,
        frame_size=control.model.frame_size,
        known=control.known,
        vary=control.config.vary,
    )
    with bar(budget * len(parts), words) as advance, closing(stage):
        for part in parts:
            filmed = films if part[0] == 0 else 0
            kept = keeper and keeper.find(words, seed, int(part[0]), len(part))
            if kept and not filmed:
                batches.append(kept)
                advance(budget)
                continue
            some = pairs.take(part)
            seeds = some.keys(seed)
            env = _set_up(stage, control, some, seeds)
            policy = make(env, seeds)
            if policy is None:
                return None
            policy.begin(len(part), env.goal_frames)
            outcome = run_episodes(
                env, policy, b=len(part), budget=budget, record=filmed, advance=advance
            )
            if filmed:
                k = len(outcome.recorded)
                video = Video(outcome.recorded, env.goal_frames[:k], outcome.success[:k])
            batches.append(_batch(words, seed, int(part[0]), outcome, policy, env))
            if keeper and not kept:
                keeper.add(batches[-1])
    return _scored(pairs, batches, video)


def _set_up(stage: Stage, control: Control, pairs: Pairs, seeds: Sequence[int]) -> PlatformEnv:
    data = control.trajectories
    starts, goals = (_rows(pairs.states(data, goal=g)) for g in (False, True))
    env = stage.set_up(starts, goals, seeds=seeds)
    check_actions(env, control)
    return env


def _batch(
    name: str, seed: int, first: int, outcome: Outcome, policy: VectorPolicy, env: PlatformEnv
) -> PlayedPairs:
    strict = [None] * len(outcome.steps) if outcome.strict is None else outcome.strict.tolist()
    columns = (
        outcome.success.tolist(),
        outcome.steps.tolist(),
        strict,
        outcome.strict_steps.tolist(),
    )
    return PlayedPairs(
        policy=name,
        seed=seed,
        first=first,
        outcomes=tuple(PairOutcome(*one) for one in zip(*columns)),
        plans=policy.total_plans or outcome.decisions,
        seconds=policy.total_seconds if policy.total_plans else outcome.seconds,
        sequences=policy.total_evaluations,
        taken=env.taken,
        cut=env.cut,
    )


def _scored(pairs: Pairs, batches: list[PlayedPairs], video: Video | None) -> Scored:
    outcomes = [one for batch in batches for one in batch.outcomes]
    success, steps, strict, strict_steps = (np.array(column) for column in zip(*outcomes))
    plans = max(1, sum(one.plans for one in batches))
    return Scored(
        success=success.astype(bool),
        distance=pairs.distance,
        steps=steps,
        strict=None if outcomes[0].strict is None else strict.astype(bool),
        strict_steps=strict_steps,
        pairs=pairs,
        plans=plans,
        plan_seconds=sum(one.seconds for one in batches) / plans,
        evaluations=sum(one.sequences for one in batches) / plans,
        cut=sum(one.cut for one in batches) / max(1, sum(one.taken for one in batches)),
        video=video,
    )


def pairs_of(
    config: PlanConfig,
    known: Environment,
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    *,
    seed: int,
    fewer: bool = False,
) -> Pairs:
    """The pairs of one seed, drawn from these episodes by the protocol.

    Args:
        fewer: take what there is, if there are too few goals ahead.

    Raises:
        UserError: if there are too few, or the data lack a column of the environment's state.
    """
    missing = [name for name in known.needs if name not in trajectories.columns]
    if missing:
        raise UserError(
            f"the data set lacks the column {missing[0]!r}, which sets the environment's state"
        )
    solved = known.solved if config.protocol == "strict" else None
    if config.goals == "walled":
        if known.walled is None:
            raise UserError(f"--goals walled: {known.id} has no walls that are known")
        return draw_walled_pairs(
            trajectories, episodes, count=config.pairs, seed=seed, walled=known.walled,
            distance=known.distance, solved=solved,
        )  # fmt: skip
    return draw_pairs(
        trajectories, episodes, count=config.pairs, offset=config.offset, seed=seed,
        distance=known.distance, solved=solved, fewer=fewer,
    )  # fmt: skip


def _rows(states: dict[str, np.ndarray]) -> list[Row]:
    n = len(next(iter(states.values())))
    return [{name: np.asarray(values[i]) for name, values in states.items()} for i in range(n)]


def check_actions(env: PlatformEnv, control: Control) -> None:
    """Raise `UserError` if the environment takes other actions than the data set has."""
    given, known = env.low.shape[-1], control.trajectories.action_dim
    if given != known:
        raise UserError(
            f"{control.known.id}: its actions have {given} dimensions, those of the data and "
            f"the model {known}"
        )
