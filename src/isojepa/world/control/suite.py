"""The benchmark that tells methods apart: near goals, far ones, and those behind walls."""

import logging
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from isojepa.boundaries import writing
from isojepa.errors import UserError
from isojepa.progress import console
from isojepa.world.control.config import PlanConfig, open_control
from isojepa.world.control.control import pairs_asked, plan, play, seeds_of
from isojepa.world.control.evaluation import PLANNING
from isojepa.world.control.goal_image import GoalImageResult, plan_to_image
from isojepa.world.control.results import ControlResult
from isojepa.world.control.success import SuccessRate
from isojepa.world.environments.environment import Environment

log = logging.getLogger(__name__)
AHEAD = {"25": (25, 50), "50": (50, 100), "100": (100, 200)}
"""Steps from start to goal, and those allowed, by the part's name."""
WALLED = "walled"
MANIFEST = "suite-pairs.json"


def plan_goals(config: PlanConfig) -> dict[str, ControlResult] | GoalImageResult:
    """`isojepa world plan`: a picture, one kind of goals, or the suite; returns results by name."""
    if config.goal is not None:
        return plan_to_image(config)
    return plan_suite(config) if config.suite else {config.asked: plan(config)}


def plan_suite(config: PlanConfig) -> dict[str, ControlResult]:
    """Play each part of the suite, print its table and that of all, and write a file for each.

    Pairs are those of the manifest; where the held-out episodes are too few or too short for as
    many goals so far ahead, there are fewer, which is said. Parts are played as `plan` plays.

    Returns:
        What the files hold, by the part's name; a part without any pair is missing.

    Raises:
        UserError: as `plan`.
    """
    out = config.out or config.run / "control.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    control = open_control(config)
    parts = suite_parts(config, control.known)
    manifest = config.manifest or config.run / MANIFEST
    frozen = pairs_asked(control, list(parts.values()), manifest, fewer=True)
    results = {}
    for name, part in parts.items():
        pairs = frozen[part.asked]
        least = min(len(pairs[seed].start) for seed in seeds_of(part))
        if least < config.pairs:
            log.warning("%s: the held-out episodes hold only %d such pairs", part.asked, least)
        if least:
            results[name] = play(control._replace(config=part), pairs, part_file(out, name))
    if not results:
        raise UserError(f"--suite: no pairs in {control.trajectories.path}; collect more episodes")
    print_suite(results)
    return results


def suite_parts(config: PlanConfig, known: Environment) -> dict[str, PlanConfig]:
    """What is asked in each part, by its name."""
    parts = {
        name: replace(config, suite=False, goals="ahead", offset=offset, budget=budget)
        for name, (offset, budget) in AHEAD.items()
    }
    if known.walled is not None:
        parts[WALLED] = replace(config, suite=False, goals="walled", budget=known.steps)
    return parts


def part_file(out: Path, name: str) -> Path:
    """The file of a part's result."""
    return out.with_name(f"{out.stem}-{name}{out.suffix}")


def print_suite(results: dict[str, ControlResult]) -> None:
    """All parts in one table: a row for each policy, and below it the same by the strict rule."""
    table = Table(title="goals reached, % [95 %, episodes drawn anew]")
    table.add_column("")
    for name, result in results.items():
        what = name if name == WALLED else f"{name} ahead"
        table.add_column(f"{what}\n{result.rate.pairs} pairs", justify="right")
    names = dict.fromkeys(name for result in results.values() for name in result.baselines)
    for name in (PLANNING, *names):
        own, strict = zip(*(result.rates_of(name) for result in results.values()))
        table.add_row("planning" if name == PLANNING else name, *map(_cell, own))
        if any(strict):
            table.add_row("  strictly", *map(_cell, strict))
    console.print(table, highlight=False)


def _cell(rate: SuccessRate | None) -> str:
    if rate is None:
        return ""
    low, high = rate.by_episode or rate.interval
    return f"{100 * rate.success:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
