"""What a run writes while it trains: config.json, metrics.jsonl, trackers and checkpoints."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, runtime_checkable

from lightning_fabric import Fabric
from torch import Tensor, nn

from isojepa.boundaries import reading, shown, trying
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.checkpoints import (
    Best,
    Checkpoint,
    Export,
    clear_leftovers,
    newest_intact,
    read_best,
    save_best,
    save_checkpoint,
    set_aside,
    what_is_wrong,
)
from isojepa.runs.config import RunConfig
from isojepa.runs.folder import Provenance, provenance
from isojepa.runs.metrics import Metrics
from isojepa.runs.record import CONFIG, DIVERGED, Divergence, RunRecord
from isojepa.runs.settings import ASKED
from isojepa.runs.typed import write_result
from isojepa.training.optimise import Terms, Update
from isojepa.training.ranks import on_first, together
from isojepa.training.trackers import Trackers

log = logging.getLogger(__name__)


@runtime_checkable
class Stateful(Protocol):
    """What is saved with a run, and restored."""

    def state_dict(self) -> Json: ...

    def load_state_dict(self, state: Json) -> object: ...


class Diverged(UserError):
    """The loss is no longer a number."""


def due(step: int, every: int, last: int, *, since: int = 1) -> bool:
    """Whether what happens every so many updates, and at the last, is due after update `step`.

    Args:
        since: updates between two times of asking: what came due between them is due now.
    """
    return step // every > (step - 1) // since * since // every or step == last


class Recorder:
    """The folder of one run; on other ranks than the first it only watches the loss.

    Args:
        config: where the folder is, and how many checkpoints are kept.
        model: whose weights are saved.
        others: what else is saved and restored, by name: each has a `state_dict`, or is None.
        trackers: where the metrics also go; opened by `open_run`.
        rate: learning rate of an update, counted from 0, to name when the run diverges.
    """

    def __init__(
        self,
        config: RunConfig,
        model: nn.Module,
        others: Mapping[str, Stateful | None],
        fabric: Fabric,
        trackers: Trackers,
        rate: Callable[[int], float],
    ) -> None:
        self.config, self.out = config, config.out
        self.model, self.fabric, self.rate, self._trackers = model, fabric, rate, trackers
        self.others = {name: other for name, other in others.items() if other is not None}
        self.step = 0
        self.seconds = 0.0
        self._resumed_at: int | None = None
        self.words = ""
        self._metrics: Metrics | None = None
        self._best: Best | None = None
        self._record = RunRecord(config={})
        self._since_line: list[tuple[int, Tensor, Tensor]] = []
        self._clock = time.perf_counter()

    def begin(self, record: RunRecord, stored: RunRecord | None) -> int:
        """Restore what `stored` describes, or begin anew; returns the number of updates made.

        Args:
            record: settings and data of the run as it is now.
            stored: the record of a run to go on with.
        """
        if stored is None:
            record = replace(record, made=Provenance(**provenance(self.fabric.device)))
        else:
            together(self._restore)
            asked = {ASKED: stored.config[ASKED]} if ASKED in stored.config else {}
            record = replace(record, made=stored.made, config=asked | record.config)
        trackers = self._trackers
        self._record = replace(record, wandb=trackers.wandb, mlflow=trackers.mlflow)
        on_first(self._open)
        self._clock = time.perf_counter()
        return self.step

    def _open(self) -> None:
        clear_leftovers(self.out)
        self._best = read_best(self.out / "checkpoints") if self.step else None
        write_result(self.out / CONFIG, self._record)
        self._metrics = Metrics(self.out, start=self.step)
        self._trackers.begin(self._record.config, purge_step=self.step)

    def remember(self, update: Update[object, Terms]) -> None:
        """Keep an update's loss and gradient norm, without waiting until they are computed."""
        self.step = update.step
        self._since_line.append((update.step, update.terms.loss, update.grad_norm))

    def line(
        self, update: Update[object, Terms], unit: str, batch_size: int, per_epoch: int
    ) -> Json:
        """What every line of metrics says of an update: its terms, its rates, and the speed so far.

        Args:
            unit: of what a batch holds: the key of the speed is `{unit}_per_second`.
            per_epoch: updates in a pass over the data.

        Raises:
            Diverged: if a loss since the last line is no longer a number.
        """
        together(self._check_finite)
        seconds = time.perf_counter() - self._clock
        self.seconds += seconds
        samples = len(self._since_line) * batch_size
        self._since_line.clear()
        numbers = {k: x.item() for k, x in update.terms._asdict().items() if x.ndim == 0}
        return {
            "step": update.step,
            "epoch": round(update.step / max(1, per_epoch), 3),
            **numbers,
            "lr": update.lr,
            "grad_norm": update.grad_norm.item(),
            f"{unit}_per_second": round(samples / seconds, 1),
        }

    def log(self, line: Json, words: str) -> None:
        """Add a line to the metrics; its words stand beside the bar until the next."""
        self.words = words
        on_first(partial(self._append, line))
        self._clock = time.perf_counter()

    def _append(self, line: Json) -> None:
        if self._metrics is not None:
            self._metrics.append(line)
            self._trackers(line)

    def save(self, step: int) -> None:
        """Write a checkpoint.

        Raises:
            Diverged: if the weights, or a loss since the last line, are no longer numbers.
        """
        together(partial(self._save, step))

    def _save(self, step: int) -> None:
        self._check_finite()
        if wrong := what_is_wrong(self.model.state_dict()):
            raise Diverged(self._diagnosis(step, "the weights", wrong))
        if self.fabric.global_rank == 0:
            save_checkpoint(self.out / "checkpoints", self._checkpoint(step), keep=self.config.keep)

    def keep_best(self, step: int, scores: dict[str, float], export: Export) -> None:
        """Keep this update's state apart, where its scores, the first before the next, are best.

        The later of equals is kept, as it was trained for longer.
        """
        if scores:
            on_first(partial(self._keep_best, step, scores, export))

    def _keep_best(self, step: int, scores: dict[str, float], export: Export) -> None:
        if self._best is None or tuple(scores.values()) >= tuple(self._best.scores.values()):
            save_best(self.out / "checkpoints", self._checkpoint(step), scores, export)
            self._best = Best(step, scores)

    @property
    def best(self) -> Best | None:
        """The update whose state is kept apart, on the first rank."""
        return self._best

    def _checkpoint(self, step: int) -> Checkpoint:
        state = {name: other.state_dict() for name, other in self.others.items()}
        return Checkpoint(step, self.model.state_dict(), {**state, "seconds": self.seconds})

    def close(self) -> None:
        """Close the trackers."""
        self._trackers.close()

    def finish(self) -> None:
        """Write the time it took, and close the trackers."""
        if self.fabric.global_rank != 0:
            return
        done = replace(self._record, seconds=round(self.seconds, 1))
        write_result(self.out / CONFIG, done)
        self.close()

    def _restore(self) -> None:
        checkpoint, complaints = newest_intact(self.out / "checkpoints")
        for complaint in complaints:
            log.warning("checkpoint left aside: %s", complaint)
        if checkpoint is None:
            if complaints:
                raise UserError(
                    f"--resume {shown(self.out)}: no intact checkpoint is left ({complaints[-1]}); "
                    "start again with --overwrite"
                )
            log.info("no checkpoint yet: starting from the first update")
            return
        with reading(self.out / "checkpoints", "a checkpoint of what config.json describes"):
            self.model.load_state_dict(checkpoint.weights)
            for name, other in self.others.items():
                if checkpoint.state.get(name) is not None:
                    other.load_state_dict(checkpoint.state[name])
            self.step, self.seconds = checkpoint.step, float(checkpoint.state["seconds"])
        self._resumed_at = self.step
        log.info("resumed at update %d", self.step)

    def _check_finite(self) -> None:
        for step, loss, _ in self._since_line:
            if not math.isfinite(loss.item()):
                self._drop_what_diverges(step)
                wrong = "the loss became infinite or NaN"
                raise Diverged(self._diagnosis(step, "the loss", wrong))

    def _drop_what_diverges(self, step: int) -> None:
        """A checkpoint whose first update has no loss would end each resumed run: one before it is
        gone on from. Once in a while it is the update's fault: so it has to happen again."""
        if step - 1 == self._resumed_at and self.fabric.global_rank == 0:
            aside = set_aside(self.out / "checkpoints", step - 1)
            if aside is not None:
                log.warning("the first update from %s fails: it is set aside there", shown(aside))

    def _diagnosis(self, step: int, what: str, wrong: str) -> str:
        checkpoint, _ = newest_intact(self.out / "checkpoints")
        kept = "there is no earlier checkpoint"
        if checkpoint is not None:
            kept = f"the checkpoint of update {checkpoint.step} is kept: --resume goes on from it"
        cause = f"the learning rate, {self.rate(step - 1):.3g} at that update, is likely too high"
        norms = [norm.item() for at, _, norm in self._since_line if at < step]
        if self.config.precision == "16-mixed":
            cause += ", or float16 overflowed (try --precision bf16-mixed)"
        if norms:
            cause += f"; the gradient norm before it was {norms[-1]:.3g}"
        if self.fabric.global_rank == 0:
            with trying(f"the note in {DIVERGED}"):
                lr = self.rate(step - 1)
                found = Divergence(step=step, what=what, lr=lr, grad_norms=tuple(norms))
                write_result(self.out / DIVERGED, found)
            if self.config.replay:
                cause += f"; `{self.config.replay}` makes that update again and looks into it"
        words = f"{wrong} at update {step}: {cause}. Training stopped; {kept}"
        if checkpoint is None and self.fabric.global_rank == 0:  # the folder may be used again
            with trying("the note in config.json that the run stopped"):
                write_result(self.out / CONFIG, replace(self._record, stopped=words))
        return words
