"""What came out of control: control.json and the table on the screen."""

from dataclasses import asdict, dataclass, field
from typing import Annotated

import numpy as np
from rich.table import Table

from isojepa.progress import console
from isojepa.runs.folder import Provenance, provenance
from isojepa.runs.typed import Inline, Key, Others, Sparse, from_json, to_json
from isojepa.world.control.config import Control
from isojepa.world.control.evaluation import PLANNING, Scored
from isojepa.world.control.outcomes import PairOutcome, PlayedPair
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

    goals: str = "ahead"
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
    """Of planning, all seeds together, by the environment's own rule."""
    strict: Sparse[SuccessRate | None] = None
    """By the strict rule; None where there is none."""
    strict_rule: Sparse[str | None] = None
    """In words."""
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
    strict_baselines: dict[str, SuccessRate] = field(default_factory=dict)
    """By the strict rule."""
    cut_actions: float | None = None
    """Share of the planned actions that were cut to the environment's bounds."""
    published: dict[str, float] = field(default_factory=dict)
    recipe: Annotated[RecordedRecipe | None, Key("settings")] = None
    config: RecordedConfig = field(default_factory=RecordedConfig)
    provenance: Inline[Provenance] = field(default_factory=Provenance)
    played: tuple[PlayedPair, ...] = ()
    """All of them, one seed after the other."""
    outcomes: dict[str, tuple[PairOutcome, ...]] = field(default_factory=dict)
    """Of each pair, by policy: `plan` and the baselines."""

    @property
    def goals(self) -> str:
        """What was asked of the pairs, in words."""
        if self.config.goals == "walled":
            return "goals with a wall between"
        return f"goals {self.config.offset} steps ahead"

    def rates_of(self, name: str) -> tuple[SuccessRate | None, SuccessRate | None]:
        """Of a policy, by the environment's own rule and by the strict one."""
        if name == PLANNING:
            return self.rate, self.strict
        return self.baselines.get(name), self.strict_baselines.get(name)


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
    episodes = np.concatenate([one.pairs.episode for one in ours])

    def rates(strict: bool) -> dict[str, SuccessRate]:
        """Of every policy, by one of the rules."""
        found = {}
        for name, each in scored.items():
            parts = [one.strict if strict else one.success for one in each]
            known = [part for part in parts if part is not None]
            if known:
                found[name] = success_rate(np.concatenate(known), episodes)
        return found

    own, strict = rates(False), rates(True)
    distance = np.concatenate([one.distance for one in ours])
    plans = sum(one.plans for one in ours)
    reached = np.concatenate([one.steps for one in ours])[success]
    return ControlResult(
        rate=own.pop(PLANNING),
        strict=strict.pop(PLANNING, None),
        strict_rule=known.strict.words if known.strict and ours[0].strict is not None else None,
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
        baselines=own,
        strict_baselines=strict,
        cut_actions=float(np.mean([one.cut for one in ours])),
        published=published_beside(
            known.id,
            protocol=config.protocol,
            offset=config.offset if config.goals == "ahead" else None,
            budget=config.budget,
            frame_size=control.model.frame_size,
        ),
        recipe=from_json(RecordedRecipe, control.recipe.as_json(), config.run),
        config=from_json(RecordedConfig, to_json(asdict(config)), config.run),
        provenance=Provenance(**provenance(control.model.device)),
        played=tuple(pair for s, one in zip(seeds, ours) for pair in _played(s, one)),
        outcomes={
            name: tuple(outcome for one in each for outcome in _outcomes(one))
            for name, each in scored.items()
        },
    )


def _played(seed: int, scored: Scored) -> list[PlayedPair]:
    return [
        PlayedPair(seed, episode, start, goal_episode, goal, far if np.isfinite(far) else None)
        for episode, start, goal_episode, goal, far in zip(*(x.tolist() for x in scored.pairs))
    ]


def _outcomes(scored: Scored) -> list[PairOutcome]:
    none = [None] * len(scored.steps)
    strict = none if scored.strict is None else scored.strict.tolist()
    columns = scored.success.tolist(), scored.steps.tolist(), strict, scored.strict_steps.tolist()
    return [PairOutcome(*one) for one in zip(*columns)]


def in_percent(interval: tuple[float, float] | None) -> str:
    """An interval for a table; nothing if there is none."""
    return "" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def print_control(result: ControlResult) -> None:
    """Print the result."""
    table = Table(
        title=f"{result.environment}, {result.protocol} protocol: {result.rate.pairs} "
        f"{result.goals}, budget {result.config.budget}"
    )
    for name in ("", "success", "95 % interval", "over episodes", "strictly"):
        table.add_column(name, justify="left" if not name else "right")
    strict = {"planning": result.strict, **result.strict_baselines}
    rows = [("planning", result.rate)]
    for part in result.by_distance:
        rows.append((f"  {part.least:.3g} to {part.most:.3g}", part.rate))
    for name, rate in (*rows, *result.baselines.items()):
        also = strict.get(name)
        table.add_row(
            name, f"{100 * rate.success:.1f} %", in_percent(rate.interval),
            in_percent(rate.by_episode), f"{100 * also.success:.1f} %" if also else "",
        )  # fmt: skip
    for name, value in result.published.items():
        table.add_row(f"published: {name}", f"{100 * value:.0f} %", "", "", "")
    console.print(table)
    if result.by_distance:
        console.print(
            f"indented: by distance at the start, {result.distance_unit}", highlight=False
        )
    if result.strict_rule:
        console.print(f"strictly: {result.strict_rule}", highlight=False)
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
