"""What came out of control: control.json and the table on the screen."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

import numpy as np
from rich.table import Table

from isojepa.progress import console
from isojepa.runs.folder import Provenance, provenance
from isojepa.runs.typed import Inline, Key, Others, from_json, to_json
from isojepa.world.control.config import Control
from isojepa.world.control.evaluation import Scored
from isojepa.world.control.success import DistanceBin, SuccessRate, by_distance, success_rate

PUBLISHED_SUCCESS: dict[str, dict[str, float]] = {
    name: {"LeWorldModel": lewm, "PLDM": pldm, "DINO-WM": dino, "LeWorldModel, re-run": again}
    for name, lewm, pldm, dino, again in (
        ("swm/TwoRoom-v1", 0.87, 0.97, 1.00, 0.75),
        ("swm/ReacherDMControl-v0", 0.86, 0.78, 0.79, 0.80),
        ("swm/PushT-v1", 0.96, 0.78, 0.74, 0.85),
        ("swm/OGBCube-v0", 0.74, 0.65, 0.86, 0.64),
    )
}
"""Under the published protocol alone: strict re-runs by others count success more strictly."""
PUBLISHED_SETTING = ("published", 25, 50, 224)  # protocol, offset, budget, frame size
NOTEWORTHY = 0.01  # share of actions cut that is said on the screen


@dataclass(frozen=True, kw_only=True)
class RecordedConfig:
    """A configuration as a result records it: what results are read by, and all else."""

    offset: int | None = None
    budget: int | None = None
    seeds: int | None = None
    others: Others = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecordedPlanner:
    """A planner as a result records it."""

    name: str = ""
    others: Others = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RecordedRecipe:
    """A recipe as a result records it: `ControlRecipe.as_json`."""

    planner: RecordedPlanner = field(default_factory=RecordedPlanner)
    cost: str = ""
    horizon: int | None = None
    execute: int | None = None
    others: Others = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SeedSuccess:
    """The success with one seed."""

    seed: int
    rate: Inline[SuccessRate]


@dataclass(frozen=True, kw_only=True)
class ControlResult:
    """What control.json holds."""

    rate: Inline[SuccessRate]
    """Of planning, all seeds together."""
    protocol: str = "unknown"
    environment: str = ""
    plan_seconds: float | None = None
    """Per plan of one episode."""
    sequences_per_plan: float | None = None
    median_steps: float | None = None
    """Of the episodes that reached their goal."""
    seeds: tuple[SeedSuccess, ...] = ()
    by_distance: tuple[DistanceBin, ...] = ()
    distance_unit: str = ""
    baselines: dict[str, SuccessRate] = field(default_factory=dict)
    cut_actions: float | None = None
    """Share of the planned actions that were cut to the environment's bounds."""
    published: dict[str, float] = field(default_factory=dict)
    recipe: Annotated[RecordedRecipe | None, Key("settings")] = None
    config: RecordedConfig = field(default_factory=RecordedConfig)
    provenance: Inline[Provenance] = field(default_factory=Provenance)


def published_beside(
    env_id: str, *, protocol: str, offset: int | None, budget: int | None, frame_size: int | None
) -> dict[str, float]:
    """Published shares of success, where the setting is theirs; else nothing to compare with."""
    theirs = (protocol, offset, budget, frame_size) == PUBLISHED_SETTING
    return PUBLISHED_SUCCESS.get(env_id, {}) if theirs else {}


def control_result(
    control: Control, scored: dict[str, list[Scored]], seeds: list[int]
) -> ControlResult:
    """The result of playing all pairs of all seeds; `scored` has the planner under `plan`."""
    config, known = control.config, control.known
    ours = scored["plan"]
    success = np.concatenate([one.success for one in ours])
    distance = np.concatenate([one.distance for one in ours])
    plans = sum(one.plans for one in ours)
    reached = np.concatenate([one.steps for one in ours])[success]
    return ControlResult(
        rate=success_rate(success),
        protocol=config.protocol,
        environment=known.id,
        plan_seconds=sum(one.plan_seconds * one.plans for one in ours) / plans,
        sequences_per_plan=sum(one.evaluations * one.plans for one in ours) / plans,
        median_steps=float(np.median(reached)) if len(reached) else None,
        seeds=tuple(
            SeedSuccess(seed=s, rate=success_rate(one.success)) for s, one in zip(seeds, ours)
        ),
        by_distance=by_distance(distance, success),
        distance_unit=known.unit,
        baselines={
            name: success_rate(np.concatenate([one.success for one in each]))
            for name, each in scored.items()
            if name != "plan"
        },
        cut_actions=float(np.mean([one.cut for one in ours])),
        published=published_beside(
            known.id,
            protocol=config.protocol,
            offset=config.offset,
            budget=config.budget,
            frame_size=control.model.frame_size,
        ),
        recipe=from_json(RecordedRecipe, control.recipe.as_json(), config.run),
        config=from_json(RecordedConfig, to_json(asdict(config)), config.run),
        provenance=Provenance(**provenance(control.model.device)),
    )


def print_control(result: ControlResult) -> None:
    """Print the result."""
    table = Table(
        title=f"{result.environment}, {result.protocol} protocol: {result.rate.pairs} goals "
        f"{result.config.offset} steps ahead, budget {result.config.budget}"
    )
    for name in ("", "success", "95 % interval"):
        table.add_column(name, justify="left" if not name else "right")
    rows = [("planning", result.rate)]
    for part in result.by_distance:
        rows.append((f"  {part.least:.3g} to {part.most:.3g} {result.distance_unit}", part.rate))
    for name, rate in (*rows, *result.baselines.items()):
        low, high = rate.interval
        table.add_row(name, f"{100 * rate.success:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}")
    for name, value in result.published.items():
        table.add_row(f"published: {name}", f"{100 * value:.0f} %", "")
    console.print(table)
    if result.plan_seconds is not None:
        console.print(
            f"{result.plan_seconds * 1000:.1f} ms and {result.sequences_per_plan:.0f} sequences "
            "per plan",
            highlight=False,
        )
    if result.cut_actions is not None and result.cut_actions >= NOTEWORTHY:
        console.print(
            f"{100 * result.cut_actions:.0f} % of the planned actions lay beyond the "
            "environment's bounds and were cut to them",
            highlight=False,
        )
