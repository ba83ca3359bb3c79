"""What a user may say about a run, and how the rest follows from the data."""

import logging
import re
from collections.abc import Callable
from dataclasses import InitVar, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from torch import nn

from isojepa.backbones.micro import SMALL_IMAGE
from isojepa.devices import Device
from isojepa.encoders.modalities.images.images import Headers
from isojepa.encoders.modalities.images.sizes import Reader, reader
from isojepa.encoders.modalities.images.views import RECIPES, Recipe
from isojepa.errors import UserError
from isojepa.objective.directions import Directions
from isojepa.runs.settings import (
    Said,
    as_paths,
    remembers,
    require,
    require_at_least_one,
    require_at_most,
)

log = logging.getLogger(__name__)
RecipeName = Literal["photo", "small", "glyph", "none"]
AT_LEAST_ONE = (
    "steps", "batch_size", "image_size", "slices", "log_every", "probe_every", "save_every",
    "keep", "devices", "projection_dim", "projector_hidden", "global_views", "micro_batch",
    "local_size",
)  # fmt: skip


AT_MOST = {
    "t_max": 100, "knots": 10_000, "slices": 2**20, "clip": 1e6, "weight_decay": 1e3,
    "image_size": 4096, "projection_dim": 2**16, "projector_hidden": 2**16, "global_views": 256,
    "local_views": 256, "local_size": 4096, "steps": 10**9, "warmup": 10**9, "devices": 10**5,
    "seed": 2**63 - 1,
}  # fmt: skip
"""Far beyond sense, and below what no number or memory holds."""


@remembers
@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Train an encoder on a folder of images with LeJEPA. Only --data and --out are needed."""

    said: InitVar[Said] = None
    data: Path
    """Folder of images, nested as you like. One folder per class gives labels, which are used for
    scores and never for training; train/ and test/ (or val/) folders give the split."""
    out: Path
    """Folder to write the run to. An existing one is refused without --resume or --overwrite."""

    labels: Path | None = None
    """CSV file with the columns path,label (paths relative to --data); replaces class folders."""
    holdout: float | None = None
    """Share of the images, in [0, 1), kept out of training and used for scores. Default: 0.2 with
    labels, 0 without. Folders named train/ and test/ take precedence."""
    max_skipped: float = 0.05
    """Largest share of unreadable files, in [0, 1], with which training starts."""

    model: str | None = None
    """Any timm model name. Default: resnet_nano below 24 px, resnet_micro up to 64 px or on a CPU,
    else vit_small_patch16_224."""
    pretrained: bool = False
    """Start from timm's published weights (downloaded by timm)."""
    image_size: int | None = None
    """Side of the global views in pixels. Default: from the images, 16 to 64 on a CPU, up to 224
    on a GPU."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for RGB. Default: 1 if all images are grey."""
    projector_hidden: int | None = None
    """Width of the projector's two hidden layers. Default: 2048, or 512 for images up to 64 px."""
    projection_dim: int = 64
    """Dimension of the projector's output, where SIGReg acts; 16 to 512, often best small."""

    recipe: RecipeName | None = None
    """Augmentations: photo; small (32-64 px); glyph (digits, documents: no flips, no colour);
    none. Default: glyph for grey images up to 64 px, small for others up to 64 px, else photo."""
    global_views: int | None = None
    """Large views per image. Default: 2 with local views, 4 without."""
    local_views: int | None = None
    """Small views per image. Default: 6 for vision transformers with the photo recipe, else 0."""
    local_size: int | None = None
    """Side of the local views in pixels. Default: 98 of 224 (or half, for glyphs), rounded to what
    the network reads: 96 px for 224, 48 for 96."""
    global_scale: tuple[float, float] | None = None
    """Smallest and largest share of an image's area in a global view. Default: by the recipe."""

    lambd: float = 0.05
    """Weight of SIGReg in [0, 1]; good from 0.01 to 0.1. 0 lets the embeddings collapse."""
    slices: int = 1024
    """Random directions per step."""
    knots: int = 17
    """Frequencies of the characteristic function on [0, t_max]."""
    t_max: float = 3.0
    """Largest frequency, in units of one over the embeddings' standard deviation."""
    directions: Directions = "random"
    """Of SIGReg's slices: random; orthogonal, in blocks that miss no direction; fixed, the same at
    every step; exact, all of them in closed form, cheaper for --batch-size up to about --slices."""

    steps: int | None = None
    """Updates to make; with --resume, more than before train on. Default: 100 epochs, but at least
    500 and at most 100,000 updates."""
    batch_size: int | None = None
    """Images per update, over all devices. Default: 256, less for fewer than 1,024 images."""
    micro_batch: int | None = None
    """Most images that a device embeds at a time. Fewer take less memory and one more forward
    pass; the loss sees the whole batch still, but batch normalisation each part by itself.
    Default: all of them."""
    lr: float | None = None
    """Peak learning rate. Default: 5e-4 for vision transformers above 64 px, else 2e-3."""
    weight_decay: float = 0.05
    """Of AdamW, on weights but not on norms and biases."""
    warmup: int | None = None
    """Updates of linear warm-up before the cosine. Default: a tenth of the steps, at most 1,000."""
    clip: float = 1.0
    """Largest gradient norm."""
    seed: int = 0
    """Of everything random: split, order, views, weights, directions."""

    device: Device = "auto"
    """Where to train."""
    devices: int = 1
    """Number of devices, each a process; --batch-size is shared among them. Under srun or torchrun,
    the number of processes that it starts on all nodes."""
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = "auto"
    """auto: bf16-mixed on GPUs that have it, else 32-true."""

    log_every: int = 10
    """Updates between two lines of metrics.jsonl."""
    probe_every: int | None = None
    """Updates between two online probes (linear and k-NN), with labels. Default: ten in all."""
    save_every: int | None = None
    """Updates between two checkpoints. Default: a tenth of the steps, but 100 to 1,000."""
    keep: int = 2
    """Checkpoints kept, besides checkpoints/best: the one with the best online probe."""
    tensorboard: bool = True
    """Write event files to OUT/tensorboard."""
    wandb: str | None = None
    """Weights & Biases project to log to (needs isojepa[wandb])."""
    evaluate: bool = True
    """With labels, score the encoder against its baselines after training."""

    preview: Path | None = None
    """Write a picture of a batch of views to this PNG file and stop: look before you train."""
    resume: bool = False
    """Go on from OUT's last checkpoint, to the same result as an uninterrupted run. Settings stay
    as the run has them; those given are compared with them."""
    overwrite: bool = False
    """Delete OUT first."""

    def __post_init__(self, said: Said) -> None:
        as_paths(self, "data", "out", "labels", "preview")
        require_at_most(self, AT_MOST)
        require(0 <= self.max_skipped <= 1, "--max-skipped must lie in [0, 1]")
        require(self.holdout is None or 0 <= self.holdout < 1, "--holdout must lie in [0, 1)")
        require(0 <= self.lambd <= 1, "--lambd must lie in [0, 1]")
        require(self.knots >= 2, "--knots must be at least 2")
        require(self.t_max > 0, "--t-max must be positive")
        require(self.clip > 0, "--clip must be positive")
        require(self.lr is None or self.lr > 0, "--lr must be positive")
        require(self.weight_decay >= 0, "--weight-decay must not be negative")
        require(self.seed >= 0, "--seed must not be negative")
        require(not (self.resume and self.overwrite), "give --resume or --overwrite, not both")
        if self.global_scale is not None:
            low, high = self.global_scale
            require(0 < low <= high <= 1, "--global-scale must be 0 < low <= high <= 1")
        require(self.warmup is None or self.warmup >= 0, "--warmup must not be negative")
        require_at_least_one(self, AT_LEAST_ONE)
        require(self.local_views is None or self.local_views >= 0, "--local-views is negative")


MAY_DIFFER_ON_RESUME = {
    "out", "data", "labels", "resume", "overwrite", "preview", "device", "tensorboard", "wandb",
    "evaluate", "keep", "log_every", "probe_every", "save_every",
}  # fmt: skip


class Plan(NamedTuple):
    """The settings that a configuration may leave open, settled; named as its fields."""

    holdout: float
    model: str
    image_size: int
    channels: int
    projector_hidden: int
    recipe: RecipeName
    global_views: int
    local_views: int
    local_size: int
    """Side of the local views, in pixels; without effect where there are none."""
    steps: int
    batch_size: int
    lr: float
    warmup: int
    probe_every: int
    save_every: int


def derive(
    config: PretrainConfig,
    headers: Headers,
    *,
    n_train: int,
    labelled: bool,
    gpu: bool,
    backbone: nn.Module | None = None,
    tell: Callable[[str], object] = log.info,
) -> Plan:
    """Settle what was left open, from the images, the network and the machine.

    Args:
        backbone: a module to train in place of a timm model.
        tell: gets a line for each setting that is not what the images alone would give.

    Raises:
        UserError: if a batch is asked for that the training images cannot fill, or views that the
            network cannot read.
    """
    limit = 224 if gpu else SMALL_IMAGE
    size = config.image_size or min(limit, max(16, 8 * round(headers.short_side / 8)))
    channels = config.channels or headers.channels
    small_model = "resnet_nano" if size < 24 else "resnet_micro"
    large = gpu and size > SMALL_IMAGE
    model = config.model or ("vit_small_patch16_224" if large else small_model)
    network = reader(model, channels, pretrained=config.pretrained)
    if backbone is not None:
        network = Reader(model, channels, backbone=backbone)
    size = _image_size(config, network, size, tell)
    is_small = size <= SMALL_IMAGE
    is_vit = re.search(r"vit|deit|eva|beit", model) is not None and "convit" not in model
    recipe = config.recipe or (("glyph" if channels == 1 else "small") if is_small else "photo")
    local = config.local_views
    if local is None:
        local = 6 if is_vit and recipe == "photo" else 0
    local, smaller = _local_views(config, network, local, RECIPES[recipe](size), tell)
    batch = config.batch_size or min(256, max(2, 2 ** ((n_train // 4).bit_length() - 1)))
    if n_train < 2:
        raise UserError("at least 2 training images are needed: SIGReg compares a distribution")
    if batch > n_train:
        raise UserError(
            f"--batch-size {batch}: there are only {n_train} training images; "
            f"choose at most {n_train}, or add images"
        )
    steps = config.steps or min(100_000, max(500, 100 * (n_train // batch)))
    return Plan(
        holdout=(0.2 if labelled else 0.0) if config.holdout is None else config.holdout,
        model=model,
        image_size=size,
        channels=channels,
        projector_hidden=config.projector_hidden or (512 if is_small else 2048),
        recipe=recipe,
        global_views=config.global_views or (2 if local else 4),
        local_views=local,
        local_size=smaller,
        steps=steps,
        batch_size=batch,
        lr=config.lr or (5e-4 if is_vit and not is_small else 2e-3),
        warmup=min(1000, max(1, steps // 10)) if config.warmup is None else config.warmup,
        probe_every=config.probe_every or max(1, steps // 10),
        save_every=config.save_every or min(1000, max(100, steps // 10)),
    )


def _image_size(
    config: PretrainConfig, network: Reader, wanted: int, tell: Callable[[str], object]
) -> int:
    if config.resume and config.image_size is not None:
        return wanted  # it was read when the run began
    size = network.image_size(wanted, asked=config.image_size is not None)
    if size != wanted:
        tell(f"{network.model} does not read {wanted} px: images of {size} px")
    return size


def _local_views(
    config: PretrainConfig,
    network: Reader,
    count: int,
    recipe: Recipe,
    tell: Callable[[str], object],
) -> tuple[int, int]:
    """How many local views, and their side: none where they would cost as much as global ones."""
    size, side = recipe.global_size, config.local_size or recipe.local_size
    if not count or side == size or (config.resume and config.local_size is not None):
        return count, side
    found = network.local_size(size, side, asked=config.local_size is not None)
    if found is not None:
        return count, found
    reads = f"{network.model}, built for {size} px, reads no images at half the work or less"
    if config.local_views:
        raise UserError(
            f"--local-views {count}: {reads}, so that local views would cost about as much as "
            f"global ones; leave them out, or accept that with --local-size {size}"
        )
    tell(f"{reads}: no local views, which would cost about as much as global ones")
    return 0, size


def local_size_before(stored: dict[str, Any]) -> int:
    """The side that a run had which began before its configuration kept it (version 0.1.0).

    Local views that the network could not read were then trained at the global size.
    """
    size = stored["image_size"]
    was = {"glyph": max(8, size // 2), "none": size}.get(
        stored["recipe"], max(8, round(size * 98 / 224))
    )
    network = reader(stored["model"], stored["channels"], pretrained=stored["pretrained"])
    return was if network.refusal(size, was) is None else size


def view_recipe(config: PretrainConfig, plan: Plan) -> Recipe:
    """The recipe that the plan names, with the configuration's own changes."""
    recipe = RECIPES[plan.recipe](plan.image_size, plan.global_views, plan.local_views)
    recipe = replace(recipe, local_size=plan.local_size)
    return replace(recipe, global_scale=config.global_scale) if config.global_scale else recipe
