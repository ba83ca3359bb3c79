"""From what the user said to images read, settings settled and an encoder built."""

import hashlib
import logging
import math
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from isojepa.data.folder import hold_out, list_folder
from isojepa.data.images import ImageSet, channel_statistics, read_headers, read_images
from isojepa.errors import UserError
from isojepa.models.encoder import Encoder, EncoderSpec
from isojepa.progress import track
from isojepa.randomness import seed_from
from isojepa.run_folder import write_skipped
from isojepa.training.config import MAY_DIFFER_ON_RESUME, Plan, PretrainConfig, derive
from isojepa.training.settings import merge_for_resume

log = logging.getLogger(__name__)
MODEL_SEED = 4  # the stream of initial weights, apart from others with the same seed


class Prepared(NamedTuple):
    """Everything that follows from the user's words and the images."""

    config: PretrainConfig
    plan: Plan
    images: ImageSet


def prepare(config: PretrainConfig, stored: dict[str, Any] | None, *, gpu: bool) -> Prepared:
    """Read the images and settle every setting that was left open.

    Args:
        stored: config.json of the run that is gone on with, if any.
    """
    listing = list_folder(config.data, config.labels)
    headers = read_headers(listing)
    if stored is not None:
        config = merge_for_resume(config, stored["config"], MAY_DIFFER_ON_RESUME)
    settle = partial(derive, config, headers, labelled=listing.labels is not None, gpu=gpu)
    draft = settle(n_train=2**31)  # only size, channels and split are used: none depends on it
    side = min(round(1.25 * draft.image_size), max(8, headers.short_side))
    bits = None
    if stored is not None:
        side, bits = stored["data"]["side"], stored["data"].get("bits", 16)
    images = read_images(listing, side=side, channels=draft.channels, bits=bits, track=track)
    _check_skipped(config, images)
    held_out = hold_out(images.listing, draft.holdout, config.seed)
    images = replace(images, held_out=held_out)
    if stored is not None:
        now = describe_data(images)
        if now["fingerprint"] != stored["data"]["fingerprint"]:
            raise UserError(
                f"--resume {config.out}: the data have changed: {stored['data']['images']} images "
                f"then, {now['images']} now, or other names; restore them or start a new run"
            )
    return Prepared(config, settle(n_train=int((~held_out).sum())), images)


def _check_skipped(config: PretrainConfig, images: ImageSet) -> None:
    skipped, total = len(images.skipped), len(images) + len(images.skipped)
    if not skipped:
        return
    if config.preview is None:
        write_skipped(config.out, images.skipped)
    name, reason = images.skipped[0]
    message = f"{skipped} of {total} files skipped, for example {name!r}: {reason}"
    if skipped > config.max_skipped * total:
        enough = math.ceil(100 * skipped / total) / 100
        raise UserError(
            f"{message}. That is more than {config.max_skipped:.0%}: see "
            f"{config.out / 'skipped.tsv'}, or allow it with --max-skipped {enough}"
        )
    log.warning("%s; all are listed in skipped.tsv", message)


def build_encoder(prepared: Prepared, train: Tensor, backbone: nn.Module | None) -> Encoder:
    """The encoder with its initial weights, normalising as the training images need."""
    config, plan, images = prepared
    mean, std = channel_statistics(images, train.tolist())
    torch.manual_seed(seed_from(config.seed, MODEL_SEED))
    spec = EncoderSpec(
        model=plan.model if backbone is None else "custom",
        image_size=plan.image_size,
        channels=plan.channels,
        mean=mean,
        std=std,
        side=images.side,
        bits=images.bits,
    )
    return Encoder(spec, backbone, pretrained=config.pretrained)


def describe_data(images: ImageSet) -> dict[str, Any]:
    """Counts, classes and a fingerprint of the file names, for config.json."""
    names = "\n".join(images.listing.names)
    return {
        "images": len(images),
        "skipped": len(images.skipped),
        "classes": images.listing.class_names,
        "train": int((~images.held_out).sum()),
        "test": int(images.held_out.sum()),
        "side": images.side,
        "channels": images.channels,
        "bits": images.bits,
        "fingerprint": hashlib.sha256(names.encode()).hexdigest()[:16],
    }


def announce(prepared: Prepared) -> None:
    """Say what was found and what was decided."""
    config, plan, images = prepared
    for note in images.notes:
        log.warning("%s", note)
    held = int(images.held_out.sum())
    classes = images.listing.class_names
    log.info(
        "%d images%s, %d held out%s",
        len(images),
        f" in {len(classes)} classes (labels are for scores only)" if classes else ", no labels",
        held,
        f", {len(images.skipped)} skipped" if images.skipped else "",
    )
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
