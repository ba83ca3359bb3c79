"""Settings of control that belong together: the published ones, and ours."""

from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.control.policies import Terms, encode_frames
from isojepa.world.episodes.trajectories import Trajectories
from isojepa.world.planners.costs import (
    Distance,
    EmbeddingGraph,
    Euclidean,
    SquaredEuclidean,
    action_penalty,
    any_step,
    last_step,
    path_distance,
)
from isojepa.world.planners.planners import (
    CEM,
    ICEM,
    PLANNERS,
    Planner,
    make_planner,
)

Aggregate = Literal["last", "any", "path", "approach"]
Metric = Literal["squared", "euclidean", "geodesic"]
PlannerName = Literal["cem", "icem", "mppi", "gradient", "random"]
RecipeName = Literal["ours", "published"]
assert set(get_args(PlannerName)) == set(PLANNERS)
WEIGHTS: dict[str, dict[Any, float]] = {
    "last": {last_step: 1.0},
    "any": {any_step: 1.0},
    "path": {path_distance: 1.0},
    "approach": {any_step: 1.0, path_distance: 0.1},
}


class Recipe(NamedTuple):
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


PUBLISHED = Recipe(CEM(), "last", "squared", horizon=5, execute=5, history=1, bounded=False)
OURS = Recipe(
    ICEM(candidates=64, elites=8, iterations=4, tolerance=0.3, improvement=0.02),
    "approach",
    "euclidean",
    horizon=5,
    execute=1,
    history=1,
)
RECIPES: dict[str, Recipe] = {"ours": OURS, "published": PUBLISHED}


def adapted(recipe: Recipe, options: dict[str, Any], *, frame_skip: int) -> Recipe:
    """The recipe with the options that are not None in place of its own; see `PlanConfig`.

    A planner of another name than the recipe's begins with that planner's defaults.

    Raises:
        UserError: if they do not fit together.
    """
    given = {name: value for name, value in options.items() if value is not None}
    name = given.pop("planner", None)
    planner: Any = recipe.planner
    if name is not None and not isinstance(planner, PLANNERS[name]):
        planner = make_planner(name)
    fields = set(Recipe._fields)
    recipe = recipe._replace(**{k: v for k, v in given.items() if k in fields})
    if "execute" not in given:
        recipe = recipe._replace(execute=min(recipe.execute, recipe.horizon))
    searched = {k: v for k, v in given.items() if k not in fields}
    for option in searched:
        if not hasattr(planner, option):
            word = option.replace("_", "-")
            raise UserError(f"--{word}: the planner {type(planner).__name__} has no such setting")
    if isinstance(planner, ICEM):
        searched["block"] = frame_skip
    if "elites" not in searched and hasattr(planner, "elites") and "candidates" in searched:
        searched["elites"] = max(2, round(searched["candidates"] * _share(planner)))
    if not 1 <= recipe.execute <= recipe.horizon:
        raise UserError(
            f"--execute {recipe.execute}: expected 1 to the {recipe.horizon} blocks of a plan"
        )
    return recipe._replace(planner=replace(planner, **searched))


def build_graph(
    model: Any, trajectories: Trajectories, episodes: np.ndarray, *, nodes: int, seed: int
) -> EmbeddingGraph:
    """The graph of the embeddings of frames drawn from the given episodes."""
    first = np.cumsum(trajectories.lengths) - trajectories.lengths
    rows = np.concatenate([first[e] + np.arange(trajectories.lengths[e]) for e in episodes])
    draw = np.random.default_rng(seed_from(seed, Stream.GRAPH)).permutation(rows)[:nodes]
    return EmbeddingGraph.build(
        encode_frames(model, trajectories.rows(np.sort(draw).astype(np.int64))), nodes=nodes
    )


def objective(recipe: Recipe, goal: Tensor, graph: EmbeddingGraph | None) -> Terms:
    """The weighted terms of the recipe's cost towards goal embeddings (b, d)."""
    distance: Distance
    if recipe.distance == "geodesic":
        assert graph is not None
        distance = graph.towards(goal)
    else:
        distance = (SquaredEuclidean if recipe.distance == "squared" else Euclidean)(goal)
    terms: Terms = [(weight, make(distance)) for make, weight in WEIGHTS[recipe.cost].items()]
    if recipe.action_penalty:
        terms.append((recipe.action_penalty, action_penalty()))
    return terms


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values."""
    planner: Any = recipe.planner
    names = {kind: name for name, kind in PLANNERS.items()}
    settings = {k: v for k, v in vars(planner).items() if not isinstance(v, torch.Tensor)}
    return {**recipe._asdict(), "planner": {"name": names[type(planner)], **settings}}


def _share(planner: Any) -> float:
    return planner.elites / planner.candidates
