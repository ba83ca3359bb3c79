"""Between updates of a world model: what to log, to measure and to save, and when."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from isojepa.training.recorder import Record
from isojepa.training.trackers import Trackers
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldPlan
from isojepa.world.learning.loop import Update, scheduled_rate
from isojepa.world.learning.measures import measure
from isojepa.world.model.world_model import WorldModel, export_world_model

log = logging.getLogger(__name__)


class WorldSession:
    """The state of one run between updates.

    Args:
        held_out: clips to measure on, if any.
        per_epoch: updates per pass over the data.
    """

    def __init__(
        self,
        out: Path,
        model: WorldModel,
        optimiser: torch.optim.Optimizer,
        fabric: Fabric,
        *,
        plan: WorldPlan,
        log_every: int,
        held_out: Clips | None,
        per_epoch: int,
        trackers: Trackers | None = None,
    ) -> None:
        self.out, self.model, self.fabric = out, model, fabric
        self.plan, self.log_every = plan, log_every
        self.held_out, self.per_epoch = held_out, max(1, per_epoch)
        self.record = Record(
            out,
            model,
            {"optimiser": optimiser},
            fabric,
            rate=partial(scheduled_rate, plan),
            trackers=trackers,
        )
        self._words = ""
        self._measured: dict[str, float] = {}

    def begin(self, description: dict[str, Any], stored: dict[str, Any] | None) -> int:
        """Restore what `stored` describes, or begin anew; returns the number of updates made."""
        return self.record.begin(description, stored)

    def follow(self, update: Update) -> str:
        """Do what is due after an update; returns the newest metrics in words."""
        step = update.step
        self.record.note(step, update.terms.loss, update.grad_norm)
        last = step == self.plan.steps
        due = step % self.plan.evaluate_every == 0 or last
        if step % self.log_every == 0 or last or step == 1 or due:
            self._log(update, due)
        if step % self.plan.save_every == 0 or last:
            self.save(step)
        return self._words

    def save(self, step: int) -> None:
        """Write a checkpoint, unless the weights are no longer numbers."""
        self.record.save(step)

    def close(self) -> None:
        """Close the trackers."""
        self.record.close()

    def finish(self) -> None:
        """Export the model, and close the record."""
        if self.fabric.global_rank == 0:
            export_world_model(self.out / "world_model", self.model)
            seconds = self.record.seconds
            log.info("world model in %s after %.0f s", self.out / "world_model", seconds)
        self.record.finish()

    def _log(self, update: Update, measuring: bool) -> None:
        updates, seconds = self.record.lap()
        line = {
            "step": update.step,
            "epoch": round(update.step / self.per_epoch, 3),
            **{name: term.item() for name, term in update.terms._asdict().items()},
            "lr": update.lr,
            "grad_norm": update.grad_norm.item(),
            "clips_per_second": round(updates * self.plan.batch_size / seconds, 1),
        }
        if measuring and self.held_out is not None:
            self._measured = measure(self.model, self.held_out).as_metrics()
            line |= self._measured
        self.record.append(line)
        self._words = (
            f"{line['clips_per_second']:.0f} clips/s  loss {line['loss']:.3f}  "
            f"prediction {line['prediction']:.3f}  regulariser {line['sigreg']:.2f}"
        )
        if self._measured:
            self._words += (
                f"  held out {self._measured['held_out_prediction']:.3f}  "
                f"rank {self._measured['effective_rank']:.1f}/{self.plan.embedding_dim}"
            )
