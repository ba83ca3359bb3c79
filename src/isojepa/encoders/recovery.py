"""A run that has collapsed: stopped, or taken back to where it was well, with another regulariser.

The regulariser stands in config.json and the later checkpoints are gone, so that what goes on is an
ordinary run: interrupted or not, it is resumed to the same result.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

from isojepa.embeddings.monitor import Collapsed, Monitor, read_alarms, write_alarms
from isojepa.encoders.config import PretrainConfig
from isojepa.files import Json
from isojepa.objective.regularisers import WEIGHTS
from isojepa.runs.checkpoints import BEST, list_checkpoints, read_best
from isojepa.runs.record import CONFIG, read_run
from isojepa.runs.settings import ASKED, said
from isojepa.runs.typed import write_result
from isojepa.training.ranks import on_first

log = logging.getLogger(__name__)


def act(config: PretrainConfig, monitor: Monitor, step: int) -> None:
    """Stop a run, or take it back so that it can be gone on with; every rank must call.

    Raises:
        Collapsed: if the run is to stop, or has been taken back before.
    """
    before = any(alarm.rolled_back_to is not None for alarm in read_alarms(config.out))
    if config.on_collapse == "recover" and not before and config.regulariser != "decoupled":
        on_first(lambda: roll_back(config, monitor.good))
        return
    again = " again, with decoupled SIGReg" if config.on_collapse == "recover" else ""
    raise Collapsed(
        f"update {step}: {monitor.complaint()}. Training stopped{again}; the last checkpoint at "
        f"which nothing was wrong is of update {last_good(config.out, monitor.good)} (0: none)"
    )


def last_good(run: Path, good: int) -> int:
    """The newest checkpoint of a run up to update `good`; 0 if there is none."""
    steps = (int(path.name.removeprefix("step-")) for path in list_checkpoints(run / "checkpoints"))
    return max((step for step in steps if step <= good), default=0)


def roll_back(config: PretrainConfig, good: int) -> int:
    """Remove what came after the last good checkpoint, and write down decoupled SIGReg.

    Returns:
        The update from which the run goes on.
    """
    folder, to = config.out / "checkpoints", last_good(config.out, good)
    for path in list_checkpoints(folder):
        if int(path.name.removeprefix("step-")) > to:
            shutil.rmtree(path)
    best = read_best(folder)
    if best is not None and best.step > to:
        shutil.rmtree(folder / BEST)
    *others, newest = read_alarms(config.out)
    write_alarms(config.out, (*others, replace(newest, rolled_back_to=to)))
    record = read_run(config.out)
    write_result(config.out / CONFIG, replace(record, config=decoupled(record.config, config)))
    log.warning("going on from update %d with decoupled SIGReg", to)
    return to


def decoupled(stored: Json, config: PretrainConfig) -> Json:
    """A stored configuration with decoupled SIGReg at its usual weight.

    What was said stays under `asked`, so that the same words may be said again.
    """
    changes = {"regulariser": "decoupled", "lambd": WEIGHTS["decoupled"]}
    if stored.get("directions") == "exact":
        changes["directions"] = "random"
    asked = {name: stored[name] for name in changes if name in said(config)}
    return stored | changes | {ASKED: stored.get(ASKED, {}) | asked}
