"""What a user may say about planning, and what evaluation needs, read and checked."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from isojepa.devices import Device
from isojepa.errors import UserError
from isojepa.runs.settings import require_bounds
from isojepa.world.control.direct import DirectGoalPolicy, Waypoints
from isojepa.world.control.pairs import Goals, Protocol
from isojepa.world.control.planning import PlanningPolicy, planning_policy
from isojepa.world.control.recipes import (
    RECIPES,
    Aggregate,
    ControlRecipe,
    Metric,
    PlannerName,
    RecipeName,
    adapted,
    build_graph,
    build_waypoints,
)
from isojepa.world.environments.environment import Environment
from isojepa.world.environments.registry import environment, judged
from isojepa.world.episodes.trajectories import Trajectories
from isojepa.world.learning.goal_networks import (
    FOLDER,
    GoalNetworks,
    load_goal_networks,
    weights_digest,
)
from isojepa.world.learning.trained import open_trained
from isojepa.world.learning.whitening import fit_whitening, load_whitening
from isojepa.world.model.latent import LatentModel
from isojepa.world.planners.distances import EmbeddingGraph


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """Reach image goals by planning with a trained world model, and score it beside baselines."""

    run: Path
    """Run folder of `isojepa world train`."""
    data: Path | None = None
    """Data set from which starts and goals are taken. Default: the run's own."""
    new_episodes: bool = False
    """Take them from episodes added since training too, not only from those held out."""
    env: str | None = None
    """Id of the environment. Default: the one the data set recorded."""

    protocol: Protocol = "strict"
    """strict: from episodes the model has not seen, and no pair solved at the start. published: any
    episode, any pair; a random policy then succeeds on a quarter of TwoRoom's."""
    suite: bool = False
    """Goals 25, 50 and 100 steps ahead, twice as many allowed, and goals behind walls where the
    environment has some, in place of --goals, --offset and --budget."""
    goal: Path | None = None
    """Picture of what shall be seen, in place of pairs from the data set: square, of any size. As
    many episodes as --films are played, and how near each came is said."""
    goals: Goals = "ahead"
    """ahead: a later frame of the start's episode. walled: any frame, with a wall between."""
    manifest: Path | None = None
    """File of frozen pairs: read if it exists, else written. Default: none, and
    RUN/suite-pairs.json with --suite."""
    pairs: int = 200
    """Start and goal pairs, per seed and kind of goal."""
    offset: int = 25
    """Environment steps from start to goal in the data set."""
    budget: int = 50
    """Environment steps allowed."""
    vary: tuple[str, ...] = ()
    """Factors of variation drawn anew for each pair: colours, sizes, or names as agent.color."""
    seeds: int = 1
    """Evaluations, each with other pairs and other draws of the planner; pooled."""
    seed: int = 0
    """Of the first of them."""

    recipe: RecipeName = "ours"
    """Where the settings below start from; published: CEM of 300 x 10, last step, all executed."""
    planner: PlannerName | None = None
    """cem, icem, mppi, gradient, or random shooting; or direct, the policy of isojepa world direct,
    which does not search. Default: direct where the run has one and nothing below is given."""
    seeded: bool = False
    """Begin each search at what the direct policy would do."""
    trust: float | None = None
    """With --seeded: do what the direct policy would unsearched where, by the model's predictions,
    it gains this share of the steps that a plan could. Default: always search."""
    subgoals: bool = False
    """Aim at frames of the data on the way, no further off, by the learnt steps, than a plan."""
    cost: Aggregate | None = None
    """Distance to the goal at the last step, the least at any step, the mean along the path, or
    approach: the least at any step plus a tenth of that mean."""
    distance: Metric | None = None
    """Squared, Euclidean, whitened: Euclidean where the training frames' embeddings are isotropic,
    geodesic: along their graph, or reach: the steps that isojepa world direct has learnt."""
    horizon: int | None = None
    """Blocks planned."""
    execute: int | None = None
    """Blocks executed before planning anew."""
    history: int | None = None
    """Most frames a plan starts from. Default: 1, as published."""
    candidates: int | None = None
    """Sequences drawn per iteration."""
    iterations: int | None = None
    """Iterations at most."""
    tolerance: float | None = None
    """Stop once the elites' mean spread falls below this, in units of the first; 0: never."""
    improvement: float | None = None
    """Stop once the elites' cost falls by less than this share in an iteration; 0: never."""
    action_penalty: float | None = None
    """Weight of the mean square of the normalised actions in the cost."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the model's rollouts; the encoder stays in float32."""

    baselines: bool = True
    """Also play random actions, a straight line and the scripted policy without noise."""
    films: int = 4
    """Episodes to film, into control.gif beside the result."""
    device: Device = "auto"
    """Where to plan."""
    out: Path | None = None
    """JSON file for the result, with every pair. Default: RUN/control.json; the parts of a suite
    add their names."""

    def __post_init__(self) -> None:
        require_bounds(
            self,
            ("pairs", "offset", "budget", "seeds", "horizon", "execute", "history", "candidates",
             "iterations"),
        )  # fmt: skip
        for name in ("seed", "films", "tolerance", "improvement", "action_penalty"):
            given = getattr(self, name)
            if given is not None and given < 0:
                raise UserError(f"--{name.replace('_', '-')} must not be negative")

        if self.trust is not None and not 0 <= self.trust <= 1:
            raise UserError("--trust must lie in [0, 1]")
        if self.goal is not None and (self.suite or self.manifest or self.goals == "walled"):
            raise UserError(
                "--goal takes the place of pairs: leave out --suite, --manifest, --goals"
            )

    @property
    def asked(self) -> str:
        """What is asked of the pairs, as manifests and results name it."""
        return "walled" if self.goals == "walled" else f"{self.offset} ahead"


class Control(NamedTuple):
    """All that evaluation needs, read and checked."""

    config: PlanConfig
    model: LatentModel
    """For planning: it shares the trained one's encoder."""
    trajectories: Trajectories
    known: Environment
    episodes: Int64[np.ndarray, " e"]
    """Pairs are drawn from these."""
    recipe: ControlRecipe
    graph: EmbeddingGraph | None
    networks: GoalNetworks | None = None
    waypoints: Waypoints | None = None
    whitening: Tensor | None = None

    def policy(
        self,
        low: np.ndarray,
        high: np.ndarray,
        *,
        seed: int | Sequence[int],
        discrete: bool = False,
    ) -> PlanningPolicy | DirectGoalPolicy:
        """The policy that acts by the recipe within bounds; `discrete`: actions are choices."""
        if self.recipe.direct:
            assert self.networks is not None
            return DirectGoalPolicy(
                self.model, self.networks, low=low, high=high, waypoints=self.waypoints
            )
        return planning_policy(
            self.model, self.recipe, low, high,
            graph=self.graph, networks=self.networks, waypoints=self.waypoints,
            whitening=self.whitening, seed=seed, discrete=discrete,
        )  # fmt: skip


def open_control(config: PlanConfig) -> Control:
    """Read the run and the data, and check that they belong together."""
    settings, model, data, trajectories, split = open_trained(
        config.run, config.data, device=config.device, new=config.new_episodes
    )
    if model.action_dim == 0:
        raise UserError(f"--run {config.run}: the model knows no actions, so it cannot plan")
    networks = goal_networks(config, model.device)
    config = settled(config, direct=networks is not None)
    recipe = recipe_of(config, frame_skip=model.frame_skip, history=model.history)
    learnt = recipe.direct or recipe.seeded or recipe.subgoals or recipe.distance == "reach"
    if networks is None and learnt:
        word = "--planner direct" if recipe.direct else "--seeded, --subgoals and --distance reach"
        raise UserError(
            f"{word}: {config.run} has no direct policy; isojepa world direct --run {config.run}"
        )
    known = environment_of(config, trajectories)
    everything = np.arange(len(trajectories))
    episodes = everything
    if config.protocol == "strict" and config.goal is None:
        episodes = split.unseen(new=config.new_episodes)
        if not len(episodes):
            raise UserError(
                f"--protocol strict: {config.run} was trained on all episodes of {data}; give "
                "--data with others, or train with --held-out"
            )
    train = split.train if len(split.train) else everything
    planning = model.for_planning(getattr(torch, config.precision))
    waypoints = None
    if recipe.subgoals and networks is not None:
        waypoints = build_waypoints(planning, networks, trajectories, train, seed=config.seed)
    whitening = load_whitening(config.run) if recipe.distance == "whitened" else None
    if recipe.distance == "whitened" and whitening is None:  # a run of an earlier version
        seed = int(settings.get("seed", 0))
        whitening = fit_whitening(planning, trajectories, train, seed=seed)
    graph = None
    if recipe.distance == "geodesic":
        graph = build_graph(
            planning, trajectories, train, nodes=recipe.graph_nodes, seed=config.seed
        )
    return Control(
        config, planning, trajectories, known, episodes, recipe, graph, networks, waypoints,
        whitening,
    )  # fmt: skip


SEARCHING = (
    "planner", "cost", "distance", "horizon", "execute", "history", "candidates",
    "iterations", "tolerance", "improvement", "action_penalty", "trust",
)  # fmt: skip


def settled(config: PlanConfig, *, direct: bool) -> PlanConfig:
    """The configuration with its planner named where the run's direct policy is the default.

    That is where the run has one, and nothing about searching was said.
    """
    said = config.recipe != "ours" or any(getattr(config, name) is not None for name in SEARCHING)
    search = said or config.seeded
    return replace(config, planner="direct") if direct and not search else config


def goal_networks(config: PlanConfig, device: torch.device) -> GoalNetworks | None:
    """What `isojepa world direct` has trained for the run, on a device; None without.

    Raises:
        UserError: if it belongs to other weights than the run's.
    """
    if not (config.run / FOLDER).is_dir():
        return None
    networks = load_goal_networks(config.run, weights_digest(config.run))
    return None if networks is None else networks.to(device)


def recipe_of(config: PlanConfig, *, frame_skip: int, history: int) -> ControlRecipe:
    """How to plan with a model of these.

    Raises:
        UserError: if the options do not fit together, the model or the budget.
    """
    options = {name: getattr(config, name) for name in SEARCHING}
    for name in ("seeded", "subgoals"):
        options[name] = getattr(config, name) or None
    recipe = adapted(RECIPES[config.recipe], options, frame_skip=frame_skip)
    steps = recipe.horizon * frame_skip
    if steps > config.budget:
        raise UserError(
            f"--horizon {recipe.horizon}: {recipe.horizon} blocks of {frame_skip} steps are "
            f"{steps}, beyond the budget of {config.budget}; lower --horizon or raise --budget"
        )
    if recipe.history > history:
        raise UserError(f"--history {recipe.history}: the model sees at most {history}")
    return recipe


def environment_of(config: PlanConfig, trajectories: Trajectories) -> Environment:
    """The environment asked for, or recorded with the data.

    Raises:
        UserError: if neither says, or it cannot be played as the configuration asks.
    """
    env_id = config.env or trajectories.env_id
    if env_id is None:
        raise UserError(
            f"{trajectories.path}: does not say which environment it is from; give --env"
        )
    if config.goal is not None:
        return environment(env_id)
    known = judged(environment(env_id), trajectories)
    if known.set_start is None or (known.own_rule and known.set_goal is None):
        raise UserError(f"--env {env_id}: the platform cannot set its state; choose another")
    if config.protocol == "strict" and known.solved is None:
        raise UserError(
            f"--protocol strict: when {env_id} is solved at the start is not known; use published"
        )
    return known
