"""Between updates: what to log, to probe and to save, and when."""

import logging
import math
import time
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from isojepa.data.batches import epoch_order
from isojepa.data.folder import UNLABELLED
from isojepa.data.images import ImageSet
from isojepa.errors import UserError
from isojepa.evaluation.features import embed
from isojepa.evaluation.label_free import effective_rank
from isojepa.models.checkpoint import Checkpoint, export_encoder, newest_intact, save_checkpoint
from isojepa.models.jepa import JEPA
from isojepa.normality.univariate import epps_pulley_floor
from isojepa.objective.exact import EXACT_FLOOR
from isojepa.run_folder import Metrics, write_json, write_skipped
from isojepa.training.config import Plan, PretrainConfig, as_json
from isojepa.training.loop import Update, learning_rate
from isojepa.training.online import OnlineProbe, nearest_neighbours_accuracy
from isojepa.training.prepare import Prepared, describe_data
from isojepa.training.sample import write_sample
from isojepa.training.trackers import Tracker, open_trackers

log = logging.getLogger(__name__)
PROBED = 4000  # images of either kind in an online probe


class Diverged(UserError):
    """The loss is no longer a number."""


class Session:
    """The state of one run between updates: what to log, probe and save, and when."""

    def __init__(
        self,
        prepared: Prepared,
        jepa: JEPA,
        optimiser: torch.optim.Optimizer,
        probe: OnlineProbe | None,
        fabric: Fabric,
    ) -> None:
        self.config, self.plan, self.images = prepared
        self.jepa, self.fabric = jepa, fabric
        self.optimiser, self.probe = optimiser, probe
        self.metrics: Metrics | None = None
        self.trackers: list[Tracker] = []
        self.step = 0
        self.seconds = 0.0
        self._words = ""
        self._description: dict[str, Any] = {}
        self._since_log: list[tuple[int, Tensor, Tensor]] = []
        self._clock = time.perf_counter()

    def restore(self) -> None:
        """Load the newest intact checkpoint, if any was written."""
        checkpoint, complaints = newest_intact(self.config.out / "checkpoints")
        for complaint in complaints:
            log.warning("checkpoint left aside: %s", complaint)
        if checkpoint is None:
            if complaints:
                raise UserError(
                    f"--resume {self.config.out}: no intact checkpoint is left ({complaints[-1]}); "
                    "start again with --overwrite"
                )
            log.info("no checkpoint yet: starting from the first update")
            return
        self.jepa.load_state_dict(checkpoint.weights)
        self.optimiser.load_state_dict(checkpoint.state["optimiser"])
        if self.probe is not None and checkpoint.state["probe"] is not None:
            self.probe.load_state_dict(checkpoint.state["probe"])
        self.step, self.seconds = checkpoint.step, checkpoint.state["seconds"]
        log.info("resumed at update %d", self.step)

    def begin(self, made_by: dict[str, Any], stored: dict[str, Any] | None) -> int:
        """Restore what `stored` describes, or begin anew; returns the number of updates made."""
        if stored is not None:
            self.restore()
        self.record(made_by, stored)
        return self.step

    def record(self, made_by: dict[str, Any], stored: dict[str, Any] | None) -> None:
        """Write config.json and skipped.tsv, and open the metrics."""
        if self.fabric.global_rank != 0:
            return
        out = self.config.out
        self._description = {
            "config": as_json(self.config, self.plan),
            **(made_by if stored is None else {k: stored[k] for k in made_by if k in stored}),
            "data": describe_data(self.images),
        }
        write_json(out / "config.json", self._description)
        write_skipped(out, self.images.skipped)
        self.metrics = Metrics(out, start=self.step)
        self.trackers = open_trackers(self.config, self.plan, purge_step=self.step)
        self._clock = time.perf_counter()

    def follow(self, update: Update) -> str:
        """Do what is due after an update; returns the newest metrics in words."""
        plan = self.plan
        self.step = update.step
        self._since_log.append((update.step, update.loss, update.grad_norm))
        if self.probe is not None and update.batch.labels is not None:
            self.probe.update(update.embeddings[: plan.global_views], update.batch.labels)
        last = update.step == plan.steps
        if update.step % self.config.log_every == 0 or last or update.step == 1:
            self._words = self.log(update)
        if update.step % plan.save_every == 0 or last:
            self.save(update.step)
        return self._words

    def log(self, update: Update) -> str:
        """Append a line to the metrics; returns it in words."""
        self._check_finite()
        seconds = time.perf_counter() - self._clock
        n = len(self._since_log)
        projections = update.projections[0].float().cpu().numpy()
        n_train = int((~self.images.held_out).sum())
        line = {
            "step": update.step,
            "epoch": round(update.step / (n_train // self.plan.batch_size), 3),
            "loss": update.loss.item(),
            "invariance": update.invariance.item(),
            "sigreg": update.sigreg.item(),
            "lr": update.lr,
            "grad_norm": update.grad_norm.item(),
            "effective_rank": effective_rank(projections, centred=False),
            "images_per_second": round(n * self.plan.batch_size / seconds, 1),
        }
        before = (update.step - 1) // self.config.log_every * self.config.log_every
        every = self.plan.probe_every
        if update.step // every > before // every or update.step == self.plan.steps:
            line |= self._probe()
        self.seconds += seconds
        self._since_log.clear()
        self._clock = time.perf_counter()
        if self.metrics is not None:
            self.metrics.append(line)
            for tracker in self.trackers:
                tracker(line)
        return in_words(line, self.config)

    def save(self, step: int) -> None:
        """Write a checkpoint, unless the weights are no longer numbers."""
        self._check_finite()
        weights = self.jepa.state_dict()
        if not all(x.isfinite().all() for x in weights.values() if x.is_floating_point()):
            raise Diverged(self._diagnosis(step, "the weights"))
        if self.fabric.global_rank == 0:
            state = {
                "optimiser": self.optimiser.state_dict(),
                "probe": None if self.probe is None else self.probe.state_dict(),
                "seconds": self.seconds,
            }
            save_checkpoint(
                self.config.out / "checkpoints",
                Checkpoint(step, weights, state),
                keep=self.config.keep,
            )

    def finish(self) -> None:
        """Export the encoder and a sample of what it does, and close the trackers."""
        if self.fabric.global_rank != 0:
            return
        out = self.config.out
        export_encoder(out / "encoder", self.jepa.encoder)
        write_sample(out / "sample.npz", self.jepa, self.images, seed=self.config.seed)
        self._description["seconds"] = round(self.seconds, 1)
        write_json(out / "config.json", self._description)
        for tracker in self.trackers:
            tracker.close()
        log.info("encoder saved in %s after %.0f s of training", out / "encoder", self.seconds)

    def _probe(self) -> dict[str, float]:
        """Online linear probe and k-NN on held-out images, at most a few thousand of them."""
        if self.probe is None or self.images.labels is None:
            return {}
        labels = torch.from_numpy(self.images.labels)
        known = self.images.labels != UNLABELLED
        train, test = (
            self._few(np.flatnonzero(known & which))
            for which in (~self.images.held_out, self.images.held_out)
        )
        x = embed(self.jepa.encoder, self.images, torch.cat([train, test]))
        return {
            "probe_accuracy": self.probe.accuracy(x[len(train) :], labels[test]),
            "knn_accuracy": nearest_neighbours_accuracy(
                x[: len(train)], labels[train], x[len(train) :], labels[test]
            ),
        }

    def _few(self, indices: np.ndarray) -> Tensor:
        order = epoch_order(len(indices), seed=self.config.seed, epoch=0)
        return torch.from_numpy(indices)[order[:PROBED]]

    def _check_finite(self) -> None:
        for step, loss, _ in self._since_log:
            if not math.isfinite(loss.item()):
                raise Diverged(self._diagnosis(step, "the loss"))

    def _diagnosis(self, step: int, what: str) -> str:
        checkpoint, _ = newest_intact(self.config.out / "checkpoints")
        kept = (
            f"the checkpoint of update {checkpoint.step} is kept"
            if checkpoint
            else "there is no earlier checkpoint"
        )
        norms = [norm.item() for at, _, norm in self._since_log if at < step]
        lr = scheduled_rate(self.plan, step - 1)
        cause = f"the learning rate, {lr:.3g} at that update, is likely too high"
        if self.config.precision == "16-mixed":
            cause += ", or float16 overflowed (try --precision bf16-mixed)"
        if norms:
            cause += f"; the gradient norm before it was {norms[-1]:.3g}"
        return f"{what} became infinite or NaN at update {step}: {cause}. Training stopped; {kept}"


def scheduled_rate(plan: Plan, step: int) -> float:
    """The learning rate of update `step`, counted from 0."""
    return learning_rate(step, peak=plan.lr, warmup=plan.warmup, steps=plan.steps)


def in_words(line: dict[str, Any], config: PretrainConfig) -> str:
    """A metrics line for the progress bar."""
    exact = config.directions == "exact"
    floor = EXACT_FLOOR if exact else epps_pulley_floor(config.knots, config.t_max)
    words = (
        f"{line['images_per_second']:.0f} img/s  loss {line['loss']:.3f}  "
        f"inv {line['invariance']:.3f}  SIGReg {line['sigreg']:.2f} "
        f"(floor {floor:.2f})  "
        f"rank {line['effective_rank']:.1f}/{config.projection_dim}"
    )
    if "probe_accuracy" in line:
        words += f"  probe {line['probe_accuracy']:.1%}"
    return words


def online_probe(images: ImageSet, d: int, device: torch.device) -> OnlineProbe | None:
    """A probe when there are labels to learn from and held-out images to test on."""
    if images.labels is None or not (images.labels[images.held_out] != UNLABELLED).any():
        return None
    assert images.listing.class_names is not None
    return OnlineProbe(d, len(images.listing.class_names), device)
