"""Control as the page shows it: rows of success, the film, and what was asked."""

from collections.abc import Iterator
from typing import NamedTuple

from isojepa.pages.world.world_run import FilmedControl
from isojepa.runs.typed import to_json
from isojepa.theme.render import data_uri
from isojepa.world.control.results import ControlResult, published_beside
from isojepa.world.control.success import SuccessRate

BASELINES = {
    "random": "Random actions",
    "straight line": "Straight towards the goal",
    "oracle": "Scripted, without noise",
}


class Bar(NamedTuple):
    """One row of a control table."""

    title: str
    kind: str
    """ours, baseline, published, heading, part."""
    success: float | None = None
    interval: tuple[float, float] | None = None
    pairs: int | None = None


class ControlSection(NamedTuple):
    """One evaluation of control."""

    name: str
    result: ControlResult
    bars: tuple[Bar, ...]
    film: str | None
    """A URI."""
    settings: dict[str, object]
    """The recipe, and what else was asked."""


def control_section(control: FilmedControl, frame_size: int | None) -> ControlSection:
    """What the page shows of one evaluation; `frame_size` is the model's."""
    result = control.result
    recipe = to_json(result.recipe) if result.recipe else {}
    if result.recipe:
        recipe |= result.recipe.planner.others | {"planner": result.recipe.planner.name}
    asked = {k: v for k, v in to_json(result.config).items() if v is not None}
    film = data_uri(control.film, "gif") if control.film else None
    bars = tuple(_bars(result, frame_size))
    settings = recipe | asked | recipe  # the recipe first, as it was settled
    return ControlSection(control.name, result, bars, film, settings)


def _bars(result: ControlResult, frame_size: int | None) -> Iterator[Bar]:
    yield _bar("Planning with this model", "ours", result.rate)
    for name, rate in result.baselines.items():
        yield _bar(BASELINES.get(name, name), "baseline", rate)
    if result.strict:
        yield Bar("The same by the strict rule", "heading")
        yield _bar("Planning with this model", "part", result.strict)
        for name, rate in result.strict_baselines.items():
            yield _bar(BASELINES.get(name, name), "part", rate)
    published = published_beside(  # not as recorded: older versions recorded it beside anything
        result.environment,
        protocol=result.protocol,
        offset=result.config.offset if result.config.goals == "ahead" else None,
        budget=result.config.budget,
        frame_size=frame_size,
    )
    for name, success in published.items():
        yield Bar(name, "published", success)
    if result.by_distance:
        unit = f", {result.distance_unit}" if result.distance_unit else ""
        yield Bar(f"By distance from start to goal{unit}", "heading")
    for part in result.by_distance:
        yield _bar(f"{part.least:.3g} to {part.most:.3g}", "part", part.rate)
    if len(result.seeds) > 1:
        yield Bar("By seed", "heading")
        for one in result.seeds:
            yield _bar(f"seed {one.seed}", "part", one.rate)


def _bar(title: str, kind: str, rate: SuccessRate) -> Bar:
    return Bar(title, kind, rate.success, rate.interval, rate.pairs)
