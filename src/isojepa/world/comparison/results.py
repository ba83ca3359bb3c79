"""What came out of a comparison: compare.json and the table on the screen."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from rich import box
from rich.table import Table

from isojepa.runs.folder import Provenance
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_run
from isojepa.runs.typed import Inline, Key, from_json
from isojepa.world.comparison.config import CLONING, OURS, CompareConfig, label
from isojepa.world.control.evaluation import Scored
from isojepa.world.control.results import RecordedConfig, RecordedRecipe
from isojepa.world.control.success import Difference, SuccessRate, paired_difference, success_rate

COLUMNS = ("", "goals reached, %", "less LeWM's, points", "rank", "error", "seconds")
NOTE = (
    "Intervals: 95 %, over the pairs. Rank: effective, of held-out embeddings, 1 if collapsed. "
    "Error: of the prediction one block ahead, as a share of the embeddings' variance. "
    "Seconds: of training, per seed."
)


@dataclass(frozen=True, kw_only=True)
class LastMeasures:
    """The last that was measured on held-out clips, as metrics.jsonl names it."""

    held_out_prediction: float | None = None
    held_out_rollout_1: float | None = None
    effective_rank: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class ContenderResult:
    """How one contender did, over all seeds."""

    label: str
    rate: Inline[SuccessRate]
    difference: Difference | None
    """To LeWM's success; None for LeWM itself."""
    by_seed: tuple[float, ...]
    training_seconds: tuple[float, ...]
    """One per seed; none for what is not trained."""
    held_out: tuple[LastMeasures, ...]
    """One per seed; none for what has no embeddings."""


@dataclass(frozen=True, kw_only=True)
class ComparisonResult:
    """What compare.json holds."""

    environment: str
    protocol: str
    contenders: dict[str, ContenderResult]
    recipe: Annotated[RecordedRecipe, Key("settings")]
    config: RecordedConfig
    provenance: Inline[Provenance]

    @property
    def title(self) -> str:
        """The setting, in words."""
        pairs = next(iter(self.contenders.values())).rate.pairs
        asked = self.config
        seeds = f" over {asked.seeds} seeds" if asked.seeds and asked.seeds > 1 else ""
        return (
            f"{self.environment}, {self.protocol} protocol: {pairs} goals{seeds} "
            f"{asked.offset} steps ahead, budget {asked.budget}"
        )


class Contender(NamedTuple):
    """What came of one contender over all seeds; `folders` is empty for those not trained."""

    folders: list[Path]
    scored: list[Scored]


def contender_results(
    config: CompareConfig, contenders: dict[str, Contender]
) -> dict[str, ContenderResult]:
    """Success, the paired difference to LeWM's, seconds and measures of each contender."""
    ours = np.concatenate([one.success for one in contenders[OURS].scored])
    results = {}
    for name, (folders, scored) in contenders.items():
        success = np.concatenate([one.success for one in scored])
        results[name] = ContenderResult(
            label=label(config, name),
            rate=success_rate(success),
            difference=None if name == OURS else paired_difference(success, ours),
            by_seed=tuple(float(one.success.mean()) for one in scored),
            training_seconds=tuple(read_run(folder).seconds or 0.0 for folder in folders),
            held_out=tuple(last_measures(f) for f in folders if name != CLONING),
        )
    return results


def last_measures(folder: Path) -> LastMeasures:
    """The last measures on held-out clips of a run; all None without any."""
    measured = [line for line in read_metrics(folder) if "held_out_prediction" in line]
    return from_json(LastMeasures, measured[-1] if measured else {}, folder / "metrics.jsonl")


def comparison_rows(result: ComparisonResult) -> list[tuple[str, ...]]:
    """One row of `COLUMNS` per contender; what a contender has not got stays empty."""
    rows: list[tuple[str, ...]] = []
    for one in result.contenders.values():
        low, high = one.rate.interval
        reached = f"{100 * one.rate.success:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        less = ""
        if one.difference is not None:
            low, high = one.difference.interval
            less = f"{100 * one.difference.difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        rank = _mean((measured.effective_rank for measured in one.held_out), ".1f")
        error = _mean((measured.held_out_rollout_1 for measured in one.held_out), ".3g")
        rows.append((one.label, reached, less, rank, error, _mean(one.training_seconds, ".0f")))
    return rows


def comparison_table(result: ComparisonResult) -> Table:
    """The rows, for the screen."""
    table = Table(title=result.title, box=box.SIMPLE_HEAD, padding=0)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))
    for row in comparison_rows(result):
        table.add_row(*row)
    return table


def _mean(values: Iterable[float | None], form: str) -> str:
    """Over the seeds; empty where it was not measured with every one."""
    known = list(values)
    numbers = [value for value in known if value is not None]
    return f"{np.mean(numbers):{form}}" if numbers and len(numbers) == len(known) else ""
