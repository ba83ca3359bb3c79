"""Settings of control that belong together: the published ones, and ours."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from torch import Tensor

from isojepa.errors import UserError
from isojepa.randomness import Stream
from isojepa.world.control.direct import StepsTo, Waypoints
from isojepa.world.episodes.trajectories import Trajectories
from isojepa.world.learning.goal_networks import GoalNetworks
from isojepa.world.learning.measures import sample_embeddings
from isojepa.world.model.latent import LatentModel
from isojepa.world.planners.cem import CEM, ICEM
from isojepa.world.planners.costs import (
    Term,
    Terms,
    action_penalty,
    any_step,
    last_step,
    path_distance,
)
from isojepa.world.planners.distances import (
    Distance,
    EmbeddingGraph,
    Euclidean,
    SquaredEuclidean,
    Whitened,
)
from isojepa.world.planners.planners import PLANNERS
from isojepa.world.planners.problem import Planner
from isojepa.world.planners.search import ElitePlanner

Aggregate = Literal["last", "any", "path", "approach"]
Metric = Literal["squared", "euclidean", "whitened", "geodesic", "reach"]
PlannerName = Literal["cem", "icem", "mppi", "gradient", "random", "direct"]
RecipeName = Literal["ours", "published"]
DIRECT = "direct"
WAYPOINTS = 1000  # frames to choose sub-goals among
assert set(get_args(PlannerName)) == {*PLANNERS, DIRECT}
AGGREGATES: dict[str, list[tuple[float, Callable[[Distance], Term]]]] = {
    "last": [(1.0, last_step)],
    "any": [(1.0, any_step)],
    "path": [(1.0, path_distance)],
    "approach": [(1.0, any_step), (0.1, path_distance)],
}


class ControlRecipe(NamedTuple):
    """What is planned, how, and how it is carried out; lengths in blocks of frame_skip steps."""

    planner: Planner
    cost: Aggregate
    distance: Metric
    horizon: int
    execute: int
    history: int
    bounded: bool = True
    """Keep the sequences tried within the action bounds; what is executed always is."""
    action_penalty: float = 0.0
    graph_nodes: int = 3000
    direct: bool = False
    """Act by the direct policy, without search: nothing above counts."""
    seeded: bool = False
    """Begin each search at what the direct policy would do, in place of the last plan."""
    trust: float = 0.0
    """Do that unsearched where it gains this share of the steps that it could, see `gains_enough`.
    0: never."""
    subgoals: bool = False
    """Aim at frames of the data that lie within a plan on the way; see `Waypoints`."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        names = {kind: name for name, kind in PLANNERS.items()}
        planner = {"name": names[type(self.planner)], **vars(self.planner)}
        if self.direct:
            return {
                "planner": {"name": DIRECT}, "execute": 1, "direct": True, "subgoals": self.subgoals
            }  # fmt: skip
        return {**self._asdict(), "planner": planner}


PUBLISHED = ControlRecipe(CEM(), "last", "squared", horizon=5, execute=5, history=1, bounded=False)
OURS = ControlRecipe(
    ICEM(candidates=64, elites=8, iterations=4, tolerance=0.3, improvement=0.02),
    "approach",
    "whitened",
    horizon=5,
    execute=1,
    history=1,
)
RECIPES: dict[str, ControlRecipe] = {"ours": OURS, "published": PUBLISHED}


def adapted(
    recipe: ControlRecipe, options: Mapping[str, object], *, frame_skip: int
) -> ControlRecipe:
    """The recipe with the options that are not None in place of its own; see `PlanConfig`.

    A planner of another name than the recipe's begins with that planner's defaults.

    Raises:
        UserError: if they do not fit together.
    """
    given: dict[str, Any] = {name: x for name, x in options.items() if x is not None}
    planner, name = recipe.planner, given.pop("planner", None)
    if name == DIRECT:
        recipe = recipe._replace(subgoals=given.pop("subgoals", False))
        if given:
            word = next(iter(given)).replace("_", "-")
            raise UserError(f"--{word}: the direct policy does not search; leave it out")
        return recipe._replace(direct=True, horizon=1, execute=1)
    if name is not None and not isinstance(planner, PLANNERS[name]):
        planner = PLANNERS[name]()
    own = {name: given.pop(name) for name in recipe._fields if name in given}
    recipe = recipe._replace(
        **{"execute": min(recipe.execute, own.get("horizon", recipe.horizon)), **own}
    )
    if recipe.trust and not recipe.seeded:
        raise UserError("--trust is of what a search begins at: give --seeded too")
    if recipe.subgoals and recipe.distance == "geodesic":
        raise UserError("--subgoals leads through the data as --distance geodesic does: take one")
    for option in given:
        if option not in vars(planner):
            word = option.replace("_", "-")
            raise UserError(f"--{word}: the planner {type(planner).__name__} has no such setting")
    if isinstance(planner, ICEM):
        given = {**given, "block": frame_skip}
    if isinstance(planner, ElitePlanner) and (candidates := given.get("candidates")):
        elites = max(2, round(candidates * (planner.elites / planner.candidates)))
        given = {"elites": elites, **given}
    if not 1 <= recipe.execute <= recipe.horizon:
        raise UserError(
            f"--execute {recipe.execute}: expected 1 to the {recipe.horizon} blocks of a plan"
        )
    return recipe._replace(planner=replace(planner, **given))  # type: ignore[type-var]


def build_waypoints(
    model: LatentModel,
    networks: GoalNetworks,
    trajectories: Trajectories,
    episodes: np.ndarray,
    *,
    seed: int,
) -> Waypoints:
    """Sub-goals among frames drawn from the given episodes, as far away as our plans reach."""
    z = sample_embeddings(model, trajectories, episodes, WAYPOINTS, seed=seed, stream=Stream.GRAPH)
    return Waypoints.among(networks.reach, z, within=OURS.horizon * model.frame_skip)


def build_graph(
    model: LatentModel, trajectories: Trajectories, episodes: np.ndarray, *, nodes: int, seed: int
) -> EmbeddingGraph:
    """The graph of the embeddings of frames drawn from the given episodes."""
    z = sample_embeddings(model, trajectories, episodes, nodes, seed=seed, stream=Stream.GRAPH)
    return EmbeddingGraph.build(z, nodes=nodes)


def objective(
    recipe: ControlRecipe,
    goal: Tensor,
    graph: EmbeddingGraph | None,
    networks: GoalNetworks | None = None,
    whitening: Tensor | None = None,
) -> Terms:
    """The weighted terms of the recipe's cost towards goal embeddings (b, d).

    Args:
        whitening: for that distance; without it, the Euclidean one.
    """
    distance: Distance
    if recipe.distance == "reach":
        assert networks is not None
        distance = StepsTo.to(networks.reach, goal)
    elif recipe.distance == "geodesic":
        assert graph is not None
        distance = graph.towards(goal)
    elif recipe.distance == "whitened" and whitening is not None:
        distance = Whitened(goal, whitening)
    else:
        distance = (SquaredEuclidean if recipe.distance == "squared" else Euclidean)(goal)
    terms: Terms = [(weight, make(distance)) for weight, make in AGGREGATES[recipe.cost]]
    if recipe.action_penalty:
        terms.append((recipe.action_penalty, action_penalty()))
    return terms
