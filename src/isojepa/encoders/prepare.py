"""From what the user said to images read, settings settled and an encoder built."""

import logging
import math
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from isojepa.backbones.networks import check_network
from isojepa.boundaries import shown
from isojepa.distributed import rank
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.images_record import ImagesRecord, describe_images, repeated_images
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec, Stem
from isojepa.encoders.modalities.images.images import ImageSet, read_headers, read_images
from isojepa.encoders.modalities.images.survey import warn_once
from isojepa.encoders.own_images import as_recorded, check_unrecorded
from isojepa.encoders.plan import PretrainPlan, local_size_before, settle
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import hold_out, why_no_scores
from isojepa.encoders.sources.held_out import HeldOut, read_held_out, record_of, write_held_out
from isojepa.encoders.sources.inputs import absolute, as_sources, list_images
from isojepa.encoders.sources.listing import is_left_by_programs
from isojepa.errors import UserError
from isojepa.progress import track
from isojepa.randomness import Stream, seed_from
from isojepa.runs.record import RunRecord
from isojepa.runs.settings import said
from isojepa.runs.tables import read_skipped, write_skipped

log = logging.getLogger(__name__)


class Prepared(NamedTuple):
    """Everything that follows from the user's words and the images."""

    config: PretrainConfig
    plan: PretrainPlan
    images: ImageSet


def prepare(
    config: PretrainConfig,
    stored: RunRecord | None,
    *,
    gpu: bool,
    backbone: nn.Module | None = None,
) -> Prepared:
    """Read the images and settle every setting that was left open.

    What a new run holds out is recorded in its folder; a run that is gone on with reads that, and
    keeps its own images and labels.

    Args:
        stored: the record of the run that is gone on with, if any.
        backbone: a module to train in place of a timm model.
    """
    _check_preview(config)
    record = None if stored is None else read_held_out(config.out)
    asked = config.labels if stored is None or "labels" in said(config) else None
    table = asked if record is not None else config.labels
    listing = list_images(config.data, table, _outputs(config))
    for note in listing.notes:
        warn_once(listing.root, note)
    listing = with_fingerprints(listing, track)
    was = None if stored is None else ImagesRecord.of(stored, config.out)
    if was is not None and record is not None:
        listing = as_recorded(listing, record, was.classes, config.out, compare=asked is not None)
    headers = read_headers(listing)
    if stored is not None and "local_size" not in stored.config:
        config = replace(config, local_size=local_size_before(config))
    labelled = listing.labels is not None
    settled = partial(settle, config, headers, labelled=labelled, gpu=gpu, backbone=backbone)
    draft = settled(n_train=2**31)  # only size, channels and split are used: none depends on it
    if backbone is None and config.pretrained and config.model is None:
        check_network(draft.model, pretrained=True)
    side = min(round(1.25 * draft.image_size), max(8, headers.short_side))
    bits = None
    if was is not None:
        side, bits = was.side, was.bits
    images = read_images(listing, side=side, channels=draft.channels, bits=bits, track=track)
    if stored is not None and record is not None:
        images = _with_record(config, images, record)
    else:
        images = replace(images, skipped=[*listing.unreachable, *images.skipped])
        _check_skipped(config, images)
        held = hold_out(images.listing, draft.holdout, config.seed, pooled=stored is None)
        images = replace(images, held_out=held)
    if was is not None and record is None:
        check_unrecorded(was, describe_images(images), config.out)
    if record is None and config.preview is None and rank() == 0:
        write_held_out(config.out, record_of(images.listing, images.held_out))
    plan = settled(n_train=int((~images.held_out).sum()), tell=log.debug)
    return Prepared(_with_absolute_paths(config), plan, images)


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


def _with_record(config: PretrainConfig, images: ImageSet, record: HeldOut) -> ImageSet:
    """The run's own images with those marked that it held out."""
    if images.skipped:
        name, reason = images.skipped[0]
        raise UserError(
            f"--resume {shown(config.out)}: {len(images.skipped)} of the run's images cannot be "
            f"read any more, for example '{shown(name)}': {reason}"
        )
    return replace(images, held_out=record.held_out, skipped=read_skipped(config.out))


def _with_absolute_paths(config: PretrainConfig) -> PretrainConfig:
    """The configuration for the record: a relative path means nothing in another folder."""
    labels = None if config.labels is None else config.labels.absolute()
    return replace(config, data=absolute(config.data), labels=labels)


def _check_skipped(config: PretrainConfig, images: ImageSet) -> None:
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


def build_encoder(prepared: Prepared, train: Tensor, backbone: nn.Module | None) -> Encoder:
    """The encoder with its initial weights, normalising as the training images need."""
    config, plan, images = prepared
    mean, std = images.statistics(train.tolist())
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    spec = EncoderSpec(
        model=plan.model if backbone is None else "custom",
        image_size=plan.image_size,
        channels=plan.channels,
        mean=mean,
        std=std,
        side=images.side,
        bits=images.bits,
    )
    # A run that is gone on with has its weights, but keeps the stem that it began with
    stem: Stem = "own" if config.pretrained else "auto"
    spec = replace(spec, stem=stem)
    return Encoder(spec, backbone, pretrained=config.pretrained and not config.resume)


def announce(prepared: Prepared, encoder: Encoder) -> None:
    """Say what was found and what was decided."""
    config, plan, images = prepared
    if encoder.spec.stem == "small":
        log.info("%s: stem of stride 1 for small images", plan.model)
    for note in images.notes:
        warn_once(images.listing.root, note)
    held = int(images.held_out.sum())
    classes = images.listing.class_names
    log.info(
        "%d images%s, %d held out%s",
        len(images),
        f" in {len(classes)} classes (labels are for scores only)" if classes else ", no labels",
        held,
        f", {len(images.skipped)} skipped" if images.skipped else "",
    )
    copies = repeated_images(images)
    if copies:
        log.warning(
            "%d of the %d held-out images are byte for byte images that are trained on: scores on "
            "them say nothing of new images",
            copies,
            held,
        )
    missing = why_no_scores(images.labels, images.held_out)
    if missing is not None:
        log.warning("there will be no scores: %s", missing)
    log.info(
        "%s at %d px, %d channel%s; recipe %s, %d global and %d local views; "
        "%d updates of %d images, peak learning rate %g, lambda %g",
        plan.model,
        plan.image_size,
        plan.channels,
        "s" if plan.channels != 1 else "",
        plan.recipe,
        plan.global_views,
        plan.local_views,
        plan.steps,
        plan.batch_size,
        plan.lr,
        config.lambd,
    )
