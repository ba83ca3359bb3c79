"""`isojepa world plan`: reach image goals with a trained world model, beside its baselines."""

import logging

from isojepa.boundaries import writing
from isojepa.runs.typed import write_result
from isojepa.world.control.config import PlanConfig, Prepared, prepare
from isojepa.world.control.films import write_film
from isojepa.world.control.goal_seeker import load_policy
from isojepa.world.control.recipes import OURS, PUBLISHED, Recipe
from isojepa.world.control.results import ControlResult, control_result, print_control
from isojepa.world.control.scoring import BASELINES, baseline_of, success_of

__all__ = [
    "OURS",
    "PUBLISHED",
    "PlanConfig",
    "Prepared",
    "Recipe",
    "load_policy",
    "prepare",
    "run",
    "success_of",
]

log = logging.getLogger(__name__)


def run(config: PlanConfig) -> ControlResult:
    """Play all pairs, print the table, and write control.json and a film.

    Returns:
        What control.json holds.

    Raises:
        UserError: for an unknown environment, too few pairs, a data set with other actions than the
            model's, a horizon beyond the budget, or a missing package.
    """
    out = config.out or config.run / "control.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    prepared = prepare(config)
    seeds = [config.seed + i for i in range(config.seeds)]
    first = success_of(prepared, seed=seeds[0], films=config.films)
    scored = {"plan": [first, *(success_of(prepared, seed=s) for s in seeds[1:])]}
    for name in BASELINES if config.baselines else ():
        each = [baseline_of(prepared, name, seed=s) for s in seeds]
        if all(one is not None for one in each):
            scored[name] = [one for one in each if one is not None]
    result = control_result(prepared, scored, seeds)
    print_control(result)
    write_result(out, result)
    if first.film is not None:
        write_film(out.with_suffix(".gif"), first.film)
    log.info("%s", out)
    return result
