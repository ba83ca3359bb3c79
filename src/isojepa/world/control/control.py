"""`isojepa world plan`: reach image goals with a trained world model, beside its baselines."""

import logging

from isojepa.boundaries import writing
from isojepa.runs.typed import write_result
from isojepa.world.control.config import PlanConfig, open_control
from isojepa.world.control.evaluation import BASELINES, baseline_of, success_of
from isojepa.world.control.results import ControlResult, control_result, print_control
from isojepa.world.control.videos import write_video

log = logging.getLogger(__name__)


def plan(config: PlanConfig) -> ControlResult:
    """Play all pairs, print the table, and write control.json and a video.

    Returns:
        What control.json holds.

    Raises:
        UserError: for an unknown environment, too few pairs, a data set with other actions than the
            model's, a horizon beyond the budget, or a missing package.
    """
    out = config.out or config.run / "control.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    control = open_control(config)
    seeds = [config.seed + i for i in range(config.seeds)]
    first = success_of(control, seed=seeds[0], films=config.films)
    scored = {"plan": [first, *(success_of(control, seed=s) for s in seeds[1:])]}
    for name in BASELINES if config.baselines else ():
        each = [baseline_of(control, name, seed=s) for s in seeds]
        if all(one is not None for one in each):
            scored[name] = [one for one in each if one is not None]
    result = control_result(control, scored, seeds)
    print_control(result)
    write_result(out, result)
    if first.video is not None:
        write_video(out.with_suffix(".gif"), first.video)
    log.info("%s", out)
    return result
