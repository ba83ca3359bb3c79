"""What a search has planned and found: in files, and on the screen."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from isojepa.boundaries import shown
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.selection.agreement import select
from isojepa.encoders.selection.criteria import CRITERIA
from isojepa.encoders.selection.halving import Hyperparameters
from isojepa.encoders.selection.trials import Trial
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.typed import to_json, write_result
from isojepa.theme.wording import duration, number

BEST, TUNED = "best.json", "tuned.json"
NOT_TUNED = {"data", "out", "resume", "overwrite", "steps", "asked", "like"}


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """OUT/config.json: what is to be tried."""

    pretrain: Json
    candidates: int
    settings: tuple[Hyperparameters, ...] = ()
    """Empty until the first run has told the usual ones, and the cost; likewise the next two."""
    update: float = 0.0
    """Seconds of one."""
    overhead: float = 0.0
    """Seconds of a run beside its updates."""
    begun: tuple[int, ...] = ()
    """Updates of each rung that has begun."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """OUT/tuned.json: what was found."""

    best: Hyperparameters
    run: str
    """Folder of the longest run of these settings, below OUT."""
    trusted: str
    """The criterion by which the last runs were compared."""
    why: str
    minutes: float
    whole: bool
    """Whether all rungs were run; otherwise the budget was used up before."""
    trials: tuple[Trial, ...]
    """The best of each rung's recipes first."""


def settle_search(
    out: Path, plan: SearchPlan, trials: Sequence[Trial], *, seconds: float, whole: bool
) -> Tuned:
    """Take the best of the last rung, and write it down.

    Within a recipe the runs are in order; recipes are compared by what `select` trusts for them.

    Raises:
        UserError: if no run ended well.
    """
    last = [one for one in trials if one.rung == trials[-1].rung]
    recipes = {one.settings.recipe: one for one in reversed(last)}
    found = select(
        [one.outcome.candidate for one in (recipes.values() if len(recipes) > 1 else last)]
    )
    (best,) = (one for one in last if one.outcome.candidate.run == found.ranked[0].run)
    tuned = Tuned(
        best=best.settings,
        run=f"runs/{best.outcome.candidate.run}",
        trusted=found.trusted,
        why=found.why,
        minutes=round(seconds / 60, 2),
        whole=whole,
        trials=tuple(trials),
    )
    write_result(out / TUNED, tuned)
    if best.outcome.candidate.collapsed is not None:
        raise UserError(
            f"no run of the last rung ended well ({best.outcome.candidate.collapsed}): all of them "
            f"are in {shown(out / TUNED)}; go on with --resume and a larger --budget, or give --lr"
        )
    write_result(out / BEST, as_settings(plan, best.settings))
    return tuned


def as_settings(plan: SearchPlan, best: Hyperparameters) -> Json:
    """What was given to `tune` and what it found, by the names of `pretrain`'s settings."""
    default = {field.name: field.default for field in fields(PretrainConfig)}
    given = {
        name: value
        for name, value in plan.pretrain.items()
        if name not in NOT_TUNED and value != default[name]
    }
    return given | to_json(best)


def show_search(tuned: Tuned) -> None:
    """The runs of each rung, what was chosen and why."""
    screen = Console(markup=False, highlight=False)
    if not screen.is_terminal:
        screen = Console(markup=False, highlight=False, width=160)
    table = Table(box=None, header_style="bold", pad_edge=False)
    labelled = any(one.outcome.candidate.accuracy is not None for one in tuned.trials)
    heads = ("rung", "updates", "λ", "lr", "recipe", "loss / λ^0.4", "LiDAR")
    for head in heads + ("accuracy, not gone by",) * labelled + ("",):
        table.add_column(head, justify="left" if head in {"recipe", ""} else "right")
    for trial in tuned.trials:
        one, found = trial.settings, trial.outcome.candidate
        cells = [str(trial.rung), f"{trial.steps:,}", str(one.lambd), f"{one.lr:g}", one.recipe]
        cells += ["–" if x is None else number(x) for x in (found.loss, found.lidar)]
        if labelled:
            cells.append("" if found.accuracy is None else f"{100 * found.accuracy:.1f} %")
        chosen = "chosen" if f"runs/{found.run}" == tuned.run else found.collapsed or ""
        table.add_row(*cells, chosen)
    screen.print(table)
    screen.print(f"Chosen by {CRITERIA[tuned.trusted].title}: {tuned.why}.", soft_wrap=True)
    if len({one.settings.recipe for one in tuned.trials}) > 1:
        screen.print("Among recipes that is a guess: look at their views (--preview).")
    if not tuned.whole:
        screen.print("The budget was used up before the last rung: --resume with more goes on.")
    screen.print(f"It took {duration(60 * tuned.minutes)}.")
