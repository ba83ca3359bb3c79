"""How what was left open follows from the images, the network and the machine."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from isojepa.backbones.micro import SMALL_IMAGE
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.images import Headers
from isojepa.encoders.modalities.images.recipes import RECIPES, ViewRecipe
from isojepa.encoders.modalities.images.sizes import Reader, reader
from isojepa.encoders.modalities.images.symmetries import Colours, Polarity, Symmetries
from isojepa.encoders.modalities.modality import Choices
from isojepa.encoders.modalities.named import check_recipe
from isojepa.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ImageChoices(Choices):
    """The settings that images decide."""

    image_size: int
    channels: int
    mirror: Literal["yes", "no"] | None
    """None in runs from before it was a setting: as the recipe has it."""
    colours: Colours | None
    polarity: Polarity | None
    local_size: int
    """Side of the local views, in pixels; without effect where there are none."""


def choose_sizes(
    config: PretrainConfig,
    headers: Headers,
    *,
    gpu: bool,
    found: Symmetries | None = None,
    backbone: nn.Module | None = None,
    tell: Callable[[str], object] = log.info,
) -> ImageChoices:
    """Settle what was left open of network, sizes and views.

    Args:
        found: what the images say of augmentations; None where they were not asked.
        backbone: a module to train in place of a timm model.
        tell: gets a line for each setting that is not what the images alone would give.

    Raises:
        UserError: if views are asked for that the network cannot read.
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
    asked = found is not None and found.mirrored is not None
    shapes = is_small and channels == 1
    if found is not None and asked:
        shapes = found.upright or found.drawn
    recipe = config.recipe or ("glyph" if shapes else "small" if is_small else "photo")
    check_recipe(recipe, RECIPES, "images")
    local = config.local_views
    if local is None:
        local = 6 if is_vit and recipe == "photo" else 0
    local, smaller = _local_views(config, network, local, RECIPES[recipe](size), tell)
    return ImageChoices(
        model=model,
        image_size=size,
        channels=channels,
        projector_hidden=config.projector_hidden or (512 if is_small else 2048),
        recipe=recipe,
        mirror=config.mirror or (None if found is None else "no" if found.upright else "yes"),
        colours=config.colours or (None if found is None else found.colours),
        polarity=config.polarity or (None if found is None else found.polarity),
        global_views=config.global_views or 2,
        local_views=local,
        local_size=smaller,
        lr=config.lr or (5e-4 if is_vit and not is_small else 2e-3),
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
    recipe: ViewRecipe,
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


def local_size_before(config: PretrainConfig) -> int:
    """The side that a run had which began before its configuration kept it (version 0.1.0).

    Local views that the network could not read were then trained at the global size.

    Args:
        config: the run's, settled.
    """
    size, channels, model = config.image_size, config.channels, config.model
    assert size is not None
    assert channels is not None
    assert model is not None
    usual = max(8, round(size * 98 / 224))
    was = {"glyph": max(8, size // 2), "none": size}.get(config.recipe or "", usual)
    network = reader(model, channels, pretrained=config.pretrained)
    return was if network.refusal(size, was) is None else size
