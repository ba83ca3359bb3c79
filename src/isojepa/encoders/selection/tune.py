"""`isojepa tune`: lambda, learning rate and recipe for a data set, without labels.

OUT/config.json holds the plan, OUT/jobs/ what each run came to, OUT/runs/ the runs, OUT/tuned.json
all of it and OUT/best.json the settings that `isojepa pretrain --like OUT/best.json` takes.
"""

import logging
import math
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import tyro

from isojepa.boundaries import shown
from isojepa.encoders.config import PretrainConfig, RecipeName
from isojepa.encoders.selection.halving import (
    ETA,
    Hyperparameters,
    Rung,
    drawn,
    rungs_within,
    runs_of_rungs,
    survivors,
)
from isojepa.encoders.selection.trials import (
    OutOfTime,
    Stopped,
    Trial,
    TrialOutcome,
    in_words,
    ranked,
    train_one,
)
from isojepa.encoders.selection.tuned import SearchPlan, Tuned, settle_search
from isojepa.errors import UserError
from isojepa.jobs import Done, Engine, run_jobs
from isojepa.progress import set_up_logging
from isojepa.runs.folder import make_run_folder
from isojepa.runs.record import CONFIG, read_run
from isojepa.runs.resume import merge_for_resume
from isojepa.runs.settings import as_json
from isojepa.runs.typed import from_json, read_result, to_json, write_result
from isojepa.theme.wording import duration
from isojepa.training.interrupted import Interrupted

log = logging.getLogger(__name__)
LOG = "log.txt"
TRIAL, TRIED = "trial", 30
"""The run by which the cost is told, and its updates."""
SHORTEST = 30
"""Updates of the shortest runs that are worth comparing."""
PLANNED = 0.95
"""Of the budget."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """Find lambda, learning rate and recipe by successive halving, without labels. What is given of
    --lambd, --lr and --recipe stays; all other settings are those of `isojepa pretrain`."""

    budget: float = 60.0
    """Minutes for everything. What they are enough for is said before the search."""
    candidates: int = 9
    """Hyperparameters to try, the usual ones among them."""
    recipes: tuple[RecipeName, ...] | None = None
    """Recipes to choose from. Default: the one that the data suggest. Without labels a choice among
    them is a guess: what views should agree in spite of is the question itself."""
    engine: Literal["auto", Engine] = "auto"
    """Where the runs are made: here, one after the other; processes, on this machine; slurm; ray.
    auto: here, or processes where there are several --workers."""
    workers: int = 1
    """Runs at a time."""
    pretrain: tyro.conf.OmitArgPrefixes[PretrainConfig]

    def __post_init__(self) -> None:
        for name in ("budget", "candidates", "workers"):
            if not 0 < getattr(self, name) < math.inf:
                raise UserError(f"--{name} must be positive")
        if self.candidates < 2:
            raise UserError("--candidates: at least 2 are needed for a choice")
        own = self.pretrain
        if self.recipes is not None and own.recipe is not None:
            raise UserError("give --recipe, which stays, or --recipes to choose from, not both")
        if own.minutes is not None:
            raise UserError("--minutes: the time of the whole search is its --budget")
        if own.preview is not None:
            raise UserError("--preview: see `isojepa pretrain`")
        if own.regulariser != "sigreg" and own.lambd is None:
            raise UserError(
                f"--regulariser {own.regulariser}: lambda is looked for on SIGReg's scale; give "
                "--lambd, to look for the rest"
            )


def search(config: TuneConfig) -> Tuned:
    """Look for settings, and write them down.

    Raises:
        UserError: for anything the user can put right, such as a budget that is too small.
        Interrupted: after Ctrl-C or SIGTERM; what was made is kept.
    """
    out = config.pretrain.out
    make_run_folder(out, resume=config.pretrain.resume, overwrite=config.pretrain.overwrite)
    set_up_logging(out / LOG)
    try:
        config, plan = _begun(config)
        plan = plan if plan.settings else _measured(config, plan)
        trials, seconds, whole = _search(config, plan)
    except Stopped as stopped:
        interrupted: Interrupted = stopped.args[0]
        remedy = f"`isojepa tune --resume --out {shown(out)}`, and --data as before"
        raise interrupted.to_go_on_with(remedy) from None
    if not trials:
        raise UserError(
            f"--budget {config.budget:g}: used up within the first rung; go on with --resume and "
            "more"
        )
    return settle_search(out, plan, trials, seconds=seconds, whole=whole)


def _begun(config: TuneConfig) -> tuple[TuneConfig, SearchPlan]:
    """The plan that is gone on with, or a new one, and what it holds for."""
    path = config.pretrain.out / CONFIG
    if not config.pretrain.resume:
        plan = SearchPlan(pretrain=as_json(config.pretrain), candidates=config.candidates)
        write_result(path, plan)
        return config, plan
    plan = read_result(SearchPlan, path)
    own = merge_for_resume(config.pretrain, plan.pretrain)
    return replace(config, pretrain=own, candidates=plan.candidates), plan


def _measured(config: TuneConfig, plan: SearchPlan) -> SearchPlan:
    """With the settings to try, and what an update and a run cost: by a short run."""
    own, out = config.pretrain, config.pretrain.out
    job = {TRIAL: _job(config, TRIAL, None, TRIED, 60 * config.budget)}
    (done,) = run_jobs(job, out / "jobs", **_engine(config))
    outcome = _outcome(config, done)
    if outcome is None:
        raise UserError(f"--budget {config.budget:g}: not enough for {TRIED} updates")
    made = read_run(out / "runs" / TRIAL).config
    usual = Hyperparameters(lambd=made["lambd"], lr=made["lr"], recipe=made["recipe"])
    settings = drawn(
        config.candidates,
        usual,
        config.recipes or (usual.recipe,),
        lambd=own.lambd is None,
        lr=own.lr is None,
        seed=own.seed,
    )
    if len(settings) < 2:
        raise UserError("--lambd, --lr and --recipe are given: nothing is left to look for")
    plan = replace(
        plan,
        settings=tuple(settings),
        update=outcome.training / TRIED,
        overhead=outcome.seconds - outcome.training,
    )
    write_result(out / CONFIG, plan)
    return plan


def _search(config: TuneConfig, plan: SearchPlan) -> tuple[list[Trial], float, bool]:
    """The trials, the seconds spent, and whether the budget was enough for all of them.

    Rung by rung: later ones are shorter than planned where the earlier ones took longer.
    """
    spent, alive, trials = plan.overhead + TRIED * plan.update, list(plan.settings), list[Trial]()
    runs, most = runs_of_rungs(alive), config.pretrain.steps
    for i in range(len(runs)):
        left = config.workers * (PLANNED * 60 * config.budget - spent)
        rungs = rungs_within(runs[i:], left, update=plan.update, overhead=plan.overhead, most=most)
        if i == 0:
            _tell(config, plan, rungs, spent)
        most = rungs[-1].steps
        steps = plan.begun[i] if i < len(plan.begun) else rungs[0].steps
        if trials and steps <= trials[-1].steps:
            return trials, spent, False
        if i == len(plan.begun):
            plan = replace(plan, begun=(*plan.begun, steps))
            write_result(config.pretrain.out / CONFIG, plan)
        made = _rung(config, i + 1, steps, alive, 60 * config.budget - spent)
        spent += sum(one.outcome.seconds for one in made) / config.workers
        if len(made) < len(alive):
            return trials, spent, False
        made = ranked(made)
        trials += made
        alive = survivors([one.settings for one in made])
    return trials, spent, True


def _tell(config: TuneConfig, plan: SearchPlan, rungs: list[Rung], spent: float) -> None:
    """What it will cost, or that the budget is too small."""

    def seconds(steps: list[int]) -> float:
        each = (rung.runs * (plan.overhead + n * plan.update) for rung, n in zip(rungs, steps))
        return spent + sum(each) / config.workers

    if rungs[0].steps < SHORTEST and not plan.begun:
        least = seconds([SHORTEST * ETA**i for i in range(len(rungs))])
        raise UserError(
            f"--budget {config.budget:g}: an update takes {1000 * plan.update:.0f} ms and a run "
            f"{plan.overhead:.0f} s beside them, so that {len(plan.settings)} settings need "
            f"{math.ceil(least / 60 / PLANNED)} minutes; go on with --resume and so many, or start "
            "again with fewer --candidates"
        )
    log.info(
        "%s at %.0f ms: about %s of the %g minutes",
        ", then ".join(rung.in_words() for rung in rungs),
        1000 * plan.update,
        duration(seconds([rung.steps for rung in rungs])),
        config.budget,
    )


def _rung(
    config: TuneConfig, number: int, steps: int, alive: list[Hyperparameters], left: float
) -> list[Trial]:
    """The runs of a rung that ended in time."""
    named = {f"rung-{number}-run-{i + 1}": one for i, one in enumerate(alive)}
    jobs = {name: _job(config, name, one, steps, left) for name, one in named.items()}
    made = []
    for done in run_jobs(jobs, config.pretrain.out / "jobs", **_engine(config)):
        outcome = _outcome(config, done)
        if outcome is not None:
            made.append(Trial(rung=number, steps=steps, settings=named[done.name], outcome=outcome))
            log.info("%s", in_words(made[-1]))
    return made


def _job(
    config: TuneConfig, name: str, one: Hyperparameters | None, steps: int, left: float
) -> Any:
    """`train_one` of these settings, which goes on with a run that was interrupted."""
    place = config.pretrain.out / "runs" / name
    changes: dict[str, Any] = {} if one is None else to_json(one)
    own = replace(
        config.pretrain,
        **changes,
        out=place,
        steps=steps,
        evaluate=False,
        tensorboard=False,
        keep=1,
        on_collapse="warn" if one is None else "stop",
        resume=(place / CONFIG).is_file(),
        overwrite=False,
    )
    return partial(train_one, own, name, time.time() + left)


def _outcome(config: TuneConfig, done: Done) -> TrialOutcome | None:
    """What a run came to; None if time was up before.

    Raises:
        UserError: if it failed, with its reason.
    """
    place = config.pretrain.out / "jobs"
    set_up_logging(config.pretrain.out / LOG)  # a run in this process had its own
    if done.error is None:
        return from_json(TrialOutcome, done.result, place / f"{done.name}.json")
    last = done.error.strip().splitlines()[-1]
    if OutOfTime.__name__ in last:
        return None
    raise UserError(f"{done.name}: {last.removeprefix('isojepa.errors.UserError: ')}")


def _engine(config: TuneConfig) -> dict[str, Any]:
    several: Engine = "processes" if config.workers > 1 else "here"
    engine = several if config.engine == "auto" else config.engine
    options = {"timeout_min": math.ceil(config.budget)} if engine == "slurm" else {}
    return {"engine": engine, "workers": config.workers, "options": options}
