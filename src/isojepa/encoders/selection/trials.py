"""The runs of a search: how one is made, what it comes to, and how those of a rung are ranked."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from isojepa import progress
from isojepa.embeddings.monitor import Collapsed
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.pretrain import train_encoder
from isojepa.encoders.selection.agreement import select
from isojepa.encoders.selection.criteria import Candidate, candidate
from isojepa.encoders.selection.halving import Hyperparameters
from isojepa.files import Json
from isojepa.runs.record import read_run
from isojepa.runs.typed import to_json
from isojepa.training.interrupted import Interrupted
from isojepa.training.recorder import Diverged


@dataclass(frozen=True, kw_only=True)
class TrialOutcome:
    """What one run came to."""

    candidate: Candidate
    seconds: float
    """In all; where it was interrupted, since it was gone on with."""
    training: float = 0.0
    """Of these in updates."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A run of a rung."""

    rung: int
    steps: int
    settings: Hyperparameters
    outcome: TrialOutcome


class Stopped(BaseException):
    """Carries an `Interrupted` past what keeps a failed job from ending the others."""


class OutOfTime(Exception):
    """A run that the budget was not enough for."""


def train_one(config: PretrainConfig, name: str, deadline: float) -> Json:
    """A job: one run, and what it says of itself as a `TrialOutcome`. Collapse is a result too.

    Args:
        deadline: in seconds since the epoch.

    Raises:
        OutOfTime: at the deadline; what was made is kept.
        Stopped: after Ctrl-C or SIGTERM, likewise.
    """
    started, left = time.monotonic(), deadline - time.time()
    if left <= 0:
        raise OutOfTime(name)
    quiet, progress.console.quiet = progress.console.quiet, True
    try:
        place = train_encoder(replace(config, max_minutes=left / 60))
        found = candidate(place, name, seed=config.seed)
    except (Collapsed, Diverged) as error:
        found = Candidate(run=name, collapsed=str(error).split(";")[0].split(": the learning")[0])
    except Interrupted as interrupted:
        if interrupted.number:
            raise Stopped(interrupted) from None
        raise OutOfTime(name) from None
    finally:
        progress.console.quiet = quiet
    made = TrialOutcome(
        candidate=found,
        seconds=time.monotonic() - started,
        training=read_run(config.out).seconds or 0.0,
    )
    as_result: Json = to_json(made)
    return as_result


def ranked(trials: Sequence[Trial]) -> list[Trial]:
    """The best first within each recipe, where losses compare; recipes in the order given."""
    made = []
    for recipe in dict.fromkeys(one.settings.recipe for one in trials):
        own = {one.outcome.candidate.run: one for one in trials if one.settings.recipe == recipe}
        found = select([one.outcome.candidate for one in own.values()])
        made += [own[each.run] for each in found.ranked]
    return made


def in_words(trial: Trial) -> str:
    """A line for the screen."""
    one, found = trial.settings, trial.outcome.candidate
    loss = "" if found.loss is None else f"  loss/λ^0.4 {found.loss:.3f}"
    ended = "" if found.collapsed is None else f"  {found.collapsed}"
    return f"rung {trial.rung}  {one.in_words()}{loss}{ended}"
