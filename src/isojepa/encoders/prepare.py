"""From what the user said to data read, settings settled and an encoder built."""

import logging
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isojepa.boundaries import shown
from isojepa.distributed import rank
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.images_record import ImagesRecord, describe_images, repeated_images
from isojepa.encoders.modalities.modality import Columns, Dataset, Given, Modality, Network, Place
from isojepa.encoders.modalities.registry import FIRST, modality, modality_of
from isojepa.encoders.own_images import as_recorded, check_unrecorded
from isojepa.encoders.plan import MOST_STEPS, PretrainPlan, settle, share_held_out
from isojepa.encoders.sources.folder import hold_out, why_no_scores
from isojepa.encoders.sources.held_out import HeldOut, read_held_out, record_of, write_held_out
from isojepa.encoders.sources.inputs import absolute, as_sources
from isojepa.encoders.sources.listing import is_left_by_programs
from isojepa.encoders.sources.notes import warn_once
from isojepa.errors import UserError
from isojepa.objective.regularisers import TITLES
from isojepa.progress import track
from isojepa.randomness import Stream, seed_from
from isojepa.runs.record import RunRecord
from isojepa.runs.settings import said
from isojepa.runs.tables import read_skipped, write_skipped

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """Everything that follows from the user's words and the data."""

    config: PretrainConfig
    plan: PretrainPlan
    data: Dataset
    modality: Modality


def prepare(
    config: PretrainConfig,
    stored: RunRecord | None,
    *,
    gpu: bool,
    backbone: nn.Module | None = None,
) -> Prepared:
    """Read the data and settle every setting that was left open.

    What a new run holds out is recorded in its folder; a run that is gone on with reads that, and
    keeps its own samples and labels.

    Args:
        stored: the record of the run that is gone on with, if any.
        backbone: a module to train in place of a named one.
    """
    _check_preview(config)
    kind = kind_of(config, stored)
    record = None if stored is None else read_held_out(config.out)
    asked = config.labels if stored is None or "labels" in said(config) else None
    table = asked if record is not None else config.labels
    place = Place(config.data, table, _outputs(config), columns_of(config), config.pages)
    source = kind.read.find(place, track)
    was = None if stored is None else ImagesRecord.of(stored, config.out)
    if was is not None and record is not None:
        own = as_recorded(
            source.listing, record, was.classes, config.out, compare=asked is not None
        )
        source = source._replace(listing=own)
    choices, form = kind.read.choose(Given(config, source, stored, gpu, backbone, log.info))
    holdout = share_held_out(config, labelled=source.listing.labels is not None)
    data = kind.read.read(source, form, track)
    if stored is not None and record is not None:
        data = _with_record(config, data, record)
    else:
        data = replace(data, skipped=[*source.listing.unreachable, *data.skipped])
        _check_skipped(config, data)
        held = hold_out(data.listing, holdout, config.seed, pooled=stored is None)
        data = replace(data, held_out=held)
    if was is not None and record is None:
        check_unrecorded(was, describe_images(data, kind), config.out)
    if record is None and config.preview is None and rank() == 0:
        write_held_out(config.out, record_of(data.listing, data.held_out))
    n_train = int((~data.held_out).sum())
    plan = settle(config, choices, modality=kind.name, n_train=n_train, holdout=holdout)
    return Prepared(_with_absolute_paths(config), plan, data, kind)


def kind_of(config: PretrainConfig, stored: RunRecord | None) -> Modality:
    """The modality that was asked for, or that the run has, or that the data look like."""
    if config.modality is not None:
        return modality(config.modality)
    if stored is not None:
        return modality(FIRST)
    return modality_of(config.data, columns_of(config))


def columns_of(config: PretrainConfig) -> Columns:
    """What the user said of a table's columns."""
    return Columns(config.id_column, config.time_column, config.label_column)


def _outputs(config: PretrainConfig) -> list[Path]:
    """What the run writes, which may lie below the data."""
    return [path for path in (config.out, config.preview) if path is not None]


def _check_preview(config: PretrainConfig) -> None:
    """A picture of views among the images would be one of them from then on."""
    if config.preview is None:
        return
    place, out = (Path(os.path.realpath(x)) for x in (config.preview, config.out))
    for folder in as_sources(config.data):
        data = Path(os.path.realpath(folder))
        if not place.is_relative_to(data) or (out != data and place.is_relative_to(out)):
            continue
        if not any(map(is_left_by_programs, place.relative_to(data).parts)):
            raise UserError(
                f"--preview {shown(config.preview)}: lies in --data {shown(folder)}, where it "
                "would be taken for one of the images; write it somewhere else"
            )


def _with_record(config: PretrainConfig, images: Dataset, record: HeldOut) -> Dataset:
    """The run's own images with those marked that it held out."""
    if images.skipped:
        name, reason = images.skipped[0]
        raise UserError(
            f"--resume {shown(config.out)}: {len(images.skipped)} of the run's samples cannot be "
            f"read any more, for example '{shown(name)}': {reason}"
        )
    return replace(images, held_out=record.held_out, skipped=read_skipped(config.out))


def _with_absolute_paths(config: PretrainConfig) -> PretrainConfig:
    """The configuration for the record: a relative path means nothing in another folder."""
    labels = None if config.labels is None else config.labels.absolute()
    return replace(config, data=absolute(config.data), labels=labels)


def _check_skipped(config: PretrainConfig, images: Dataset) -> None:
    skipped, total = len(images.skipped), len(images) + len(images.skipped)
    if not skipped:
        return
    place = config.preview or config.out
    listed = write_skipped(place, images.skipped) if place.parent.is_dir() else None
    where = "" if listed is None else f"see {shown(listed)}, or "
    name, reason = images.skipped[0]
    message = f"{skipped} of {total} files skipped, for example '{shown(name)}': {shown(reason)}"
    if skipped > config.max_skipped * total:
        enough = math.ceil(100 * skipped / total) / 100
        raise UserError(
            f"{message}. That is more than {config.max_skipped:.0%}: {where}allow it with "
            f"--max-skipped {enough}"
        )
    log.warning("%s%s", message, "" if listed is None else f"; all are listed in {shown(listed)}")


def build_encoder(prepared: Prepared, train: Tensor, backbone: nn.Module | None) -> Network:
    """The encoder with its initial weights, normalising as the training samples need."""
    config, plan, data, kind = prepared
    statistics = data.statistics(train.tolist())
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    choices = plan.choices if backbone is None else replace(plan.choices, model="custom")
    spec = kind.network.spec(config, choices, data, statistics)
    published = config.pretrained and not config.resume
    return kind.network.network(spec, backbone, pretrained=published)


def announce_encoder(prepared: Prepared, encoder: Network) -> None:
    """Say what was found and what was decided."""
    config, plan, data, kind = prepared
    choices, words = plan.choices, kind.read.WORDS
    for note in data.notes:
        warn_once(data.listing.root, note)
    held = int(data.held_out.sum())
    classes = data.listing.class_names
    log.info(
        "%d %s%s, %d held out%s",
        len(data),
        words.many,
        f" in {len(classes)} classes (labels are for scores only)" if classes else ", no labels",
        held,
        f", {len(data.skipped)} skipped" if data.skipped else "",
    )
    copies = repeated_images(data)
    if copies:
        log.warning(
            "%d of the %d held-out %s are byte for byte %s that are trained on: scores on "
            "them say nothing of new %s",
            *(copies, held, words.many, words.many, words.many),
        )
    missing = why_no_scores(data.labels, data.held_out)
    if missing is not None:
        log.warning("there will be no scores: %s", missing)
    log.info(
        "%s; recipe %s, %d global and %d local views; "
        "%s updates of %d %s, peak learning rate %g, %s with lambda %s",
        kind.network.in_words(encoder.spec),
        choices.recipe,
        choices.global_views,
        choices.local_views,
        plan.steps if plan.steps < MOST_STEPS else "as --minutes allows,",
        plan.batch_size,
        words.many,
        choices.lr,
        TITLES[config.regulariser],
        plan.lambd if plan.lambd == "auto" else f"{plan.lambd:g}",
    )
