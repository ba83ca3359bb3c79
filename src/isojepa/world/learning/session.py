"""Between updates of a world model: what to log, to measure and to save, and when."""

import logging
import math
import time
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from isojepa.data.trajectories import Clips
from isojepa.errors import UserError
from isojepa.models.checkpoint import Checkpoint, newest_intact, save_checkpoint
from isojepa.objective.lewm import LeWMTerms
from isojepa.run_folder import Metrics, provenance, write_json
from isojepa.training.session import Diverged
from isojepa.world.learning.config import WorldPlan
from isojepa.world.learning.measures import measure
from isojepa.world.model.world_model import WorldModel, export_world_model

log = logging.getLogger(__name__)
KEPT = 2  # checkpoints


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
    ) -> None:
        self.out, self.model, self.optimiser, self.fabric = out, model, optimiser, fabric
        self.plan, self.log_every = plan, log_every
        self.held_out, self.per_epoch = held_out, max(1, per_epoch)
        self.metrics: Metrics | None = None
        self.seconds = 0.0
        self._words = ""
        self._measured: dict[str, float] = {}
        self._description: dict[str, Any] = {}
        self._since_log: list[tuple[int, Tensor, Tensor]] = []
        self._clock = time.perf_counter()

    def begin(self, description: dict[str, Any], stored: dict[str, Any] | None) -> int:
        """Restore what `stored` describes, or begin anew; returns the number of updates made."""
        start = 0 if stored is None else self._restore()
        made_by = provenance(self.fabric.device)
        kept = made_by if stored is None else {k: stored[k] for k in made_by if k in stored}
        self._description = {**description, **kept}
        if self.fabric.global_rank == 0:
            write_json(self.out / "config.json", self._description)
            self.metrics = Metrics(self.out, start=start)
        self._clock = time.perf_counter()
        return start

    def follow(self, step: int, terms: LeWMTerms, grad_norm: Float[Tensor, ""], lr: float) -> str:
        """Do what is due after an update; returns the newest metrics in words."""
        self._since_log.append((step, terms.loss, grad_norm))
        last = step == self.plan.steps
        due = step % self.plan.evaluate_every == 0 or last
        if step % self.log_every == 0 or last or step == 1 or due:
            self._log(step, terms, grad_norm, lr, due)
        if step % self.plan.save_every == 0 or last:
            self.save(step)
        return self._words

    def save(self, step: int) -> None:
        """Write a checkpoint, unless the weights are no longer numbers."""
        self._check_finite()
        weights = self.model.state_dict()
        if not all(x.isfinite().all() for x in weights.values() if x.is_floating_point()):
            raise Diverged(self._diagnosis(step, "the weights"))
        if self.fabric.global_rank == 0:
            state = {"optimiser": self.optimiser.state_dict(), "seconds": self.seconds}
            save_checkpoint(self.out / "checkpoints", Checkpoint(step, weights, state), keep=KEPT)

    def finish(self) -> None:
        """Export the model."""
        if self.fabric.global_rank == 0:
            export_world_model(self.out / "world_model", self.model)
            self._description["seconds"] = round(self.seconds, 1)
            write_json(self.out / "config.json", self._description)
            log.info("world model in %s after %.0f s", self.out / "world_model", self.seconds)

    def _restore(self) -> int:
        checkpoint, complaints = newest_intact(self.out / "checkpoints")
        for complaint in complaints:
            log.warning("checkpoint left aside: %s", complaint)
        if checkpoint is None:
            if complaints:
                raise UserError(
                    f"--resume {self.out}: no intact checkpoint is left ({complaints[-1]}); "
                    "start again with --overwrite"
                )
            log.info("no checkpoint yet: starting from the first update")
            return 0
        self.model.load_state_dict(checkpoint.weights)
        self.optimiser.load_state_dict(checkpoint.state["optimiser"])
        self.seconds = checkpoint.state["seconds"]
        log.info("resumed at update %d", checkpoint.step)
        return checkpoint.step

    def _log(
        self, step: int, terms: LeWMTerms, grad_norm: Tensor, lr: float, measuring: bool
    ) -> None:
        self._check_finite()
        seconds = time.perf_counter() - self._clock
        clips = len(self._since_log) * self.plan.batch_size
        line = {
            "step": step,
            "epoch": round(step / self.per_epoch, 3),
            **{name: term.item() for name, term in terms._asdict().items()},
            "lr": lr,
            "grad_norm": grad_norm.item(),
            "clips_per_second": round(clips / seconds, 1),
        }
        if measuring and self.held_out is not None:
            self._measured = measure(self.model, self.held_out).as_metrics()
            line |= self._measured
        self.seconds += seconds
        self._since_log.clear()
        self._clock = time.perf_counter()
        if self.metrics is not None:
            self.metrics.append(line)
        self._words = (
            f"{line['clips_per_second']:.0f} clips/s  loss {line['loss']:.3f}  "
            f"prediction {line['prediction']:.3f}  regulariser {line['sigreg']:.2f}"
        )
        if self._measured:
            self._words += (
                f"  held out {self._measured['held_out_prediction']:.3f}  "
                f"rank {self._measured['effective_rank']:.1f}/{self.plan.embedding_dim}"
            )

    def _check_finite(self) -> None:
        for step, loss, _ in self._since_log:
            if not math.isfinite(loss.item()):
                raise Diverged(self._diagnosis(step, "the loss"))

    def _diagnosis(self, step: int, what: str) -> str:
        checkpoint, _ = newest_intact(self.out / "checkpoints")
        kept = "there is no earlier checkpoint"
        if checkpoint is not None:
            kept = f"the checkpoint of update {checkpoint.step} is kept"
        norms = [norm.item() for at, _, norm in self._since_log if at < step]
        before = f"; the gradient norm before it was {norms[-1]:.3g}" if norms else ""
        return (
            f"{what} became infinite or NaN at update {step}: the peak learning rate, "
            f"{self.plan.lr:g}, is likely too high{before}. Training stopped; {kept}"
        )
