"""Between updates: what to log, to probe and to save, and when."""

import logging
from functools import partial
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from isojepa.embeddings.label_free import effective_rank
from isojepa.encoders.config import Plan, PretrainConfig
from isojepa.encoders.evaluation.features import embed
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.loop import Update
from isojepa.encoders.modalities.images.encoder import export_encoder
from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.prepare import Prepared, describe_data
from isojepa.encoders.probes import OnlineProbe, nearest_neighbours_accuracy
from isojepa.encoders.sample import write_sample
from isojepa.encoders.sources.folder import UNLABELLED
from isojepa.normality.univariate import epps_pulley_floor
from isojepa.objective.exact import EXACT_FLOOR
from isojepa.randomness import epoch_order
from isojepa.runs.folder import write_skipped
from isojepa.runs.settings import as_json
from isojepa.training.optimise import learning_rate
from isojepa.training.ranks import on_first
from isojepa.training.recorder import Record
from isojepa.training.trackers import Trackers

log = logging.getLogger(__name__)
PROBED = 4000  # images of either kind in an online probe


class Session:
    """The state of one run between updates: what to log, probe and save, and when."""

    def __init__(
        self,
        prepared: Prepared,
        jepa: JEPA,
        optimiser: torch.optim.Optimizer,
        probe: OnlineProbe | None,
        fabric: Fabric,
        trackers: Trackers | None = None,
    ) -> None:
        self.config, self.plan, self.images = prepared
        self.jepa, self.probe, self.fabric = jepa, probe, fabric
        others: dict[str, Any] = {"optimiser": optimiser}
        if probe is not None:
            others["probe"] = probe
        overflow = "float16 overflowed (try --precision bf16-mixed)"
        self.record = Record(
            self.config.out,
            jepa,
            others,
            fabric,
            rate=partial(scheduled_rate, self.plan),
            keep=self.config.keep,
            hint=overflow if self.config.precision == "16-mixed" else "",
            trackers=trackers,
        )
        self._words = ""

    def begin(self, stored: dict[str, Any] | None) -> int:
        """Restore what `stored` describes, or begin anew; returns the number of updates made."""
        settled = as_json(self.config, self.plan)
        start = self.record.begin({"config": settled, "data": describe_data(self.images)}, stored)
        on_first(lambda: write_skipped(self.config.out, self.images.skipped))
        return start

    def follow(self, update: Update) -> str:
        """Do what is due after an update; returns the newest metrics in words."""
        plan = self.plan
        self.record.note(update.step, update.loss, update.grad_norm)
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
        n, seconds = self.record.lap()
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
        scores = {}
        if update.step // every > before // every or update.step == self.plan.steps:
            scores = self._probe()
        self.record.append(line | scores)
        self.record.keep_best(
            update.step,
            scores,
            lambda folder: export_encoder(folder / "encoder", self.jepa.encoder),
        )
        return in_words(line | scores, self.config)

    def save(self, step: int) -> None:
        """Write a checkpoint, unless the weights are no longer numbers."""
        self.record.save(step)

    def finish(self) -> None:
        """Export the encoder and a sample of what it does, and close the record."""
        if self.fabric.global_rank == 0:
            out, seconds = self.config.out, self.record.seconds
            export_encoder(out / "encoder", self.jepa.encoder)
            write_sample(out / "sample.npz", self.jepa, self.images, seed=self.config.seed)
            log.info("encoder saved in %s after %.0f s of training", out / "encoder", seconds)
            self._say_best()
        self.record.finish()

    def close(self) -> None:
        """Close the trackers."""
        self.record.close()

    def _say_best(self) -> None:
        best = self.record.best
        if best is not None and best.step < self.plan.steps:
            log.info(
                "the online probe was best at update %d (%.1f %%): that encoder is kept in %s",
                best.step,
                100 * best.scores["probe_accuracy"],
                self.config.out / "checkpoints" / "best",
            )

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
    if images.labels is None:
        return None
    known = images.labels != UNLABELLED
    if not (known & images.held_out).any() or not (known & ~images.held_out).any():
        return None
    assert images.listing.class_names is not None
    return OnlineProbe(d, len(images.listing.class_names), device)
