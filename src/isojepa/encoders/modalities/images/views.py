"""Images' views: what varies between them, how they are made, and a picture of some."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.choices import ImageChoices
from isojepa.encoders.modalities.images.encoder import EncoderSpec
from isojepa.encoders.modalities.images.images import ImageSet, Squares
from isojepa.encoders.modalities.images.masks import draw_masks, with_holes
from isojepa.encoders.modalities.images.normalised import make_views
from isojepa.encoders.modalities.images.parameters import draw_parameters
from isojepa.encoders.modalities.images.preview import draw_preview
from isojepa.encoders.modalities.images.recipes import RECIPES, ViewRecipe, free_colours
from isojepa.encoders.modalities.modality import Batch, Viewing, Views


class ImageViewing(Viewing):
    """Crops, colours and the like."""

    def recipe(self, config: PretrainConfig, choices: ImageChoices) -> ViewRecipe:
        """The recipe that was chosen, with the configuration's own changes."""
        named = RECIPES[choices.recipe](
            choices.image_size, choices.global_views, choices.local_views
        )
        named = replace(named, local_size=choices.local_size)
        if choices.mirror is not None:
            named = replace(named, flip=0.5 if choices.mirror == "yes" else 0.0)
        if choices.colours == "vary":
            named = free_colours(named)
        if choices.polarity == "vary":
            named = replace(named, invert=0.5)
        return replace(named, global_scale=config.global_scale) if config.global_scale else named

    def views(
        self,
        batch: Batch[Squares],
        step: int,
        *,
        recipe: ViewRecipe,
        spec: EncoderSpec,
        seed: int,
        device: torch.device,
    ) -> Views:
        """Crops and changes of colour, drawn and then rendered."""
        squares, aspects = batch.samples
        parameters = draw_parameters(
            recipe, aspects, seed=seed, step=step, first=batch.first, total=batch.total
        )
        squares = squares.to(device, non_blocking=True)
        made = make_views(squares, parameters, recipe, spec.mean, spec.std)
        if not recipe.masked:
            return made
        missing = draw_masks(
            recipe.masked, recipe.views,
            seed=seed, step=step, first=batch.first, n=len(squares), total=batch.total,
        )  # fmt: skip
        large, small = missing[: recipe.n_global], missing[recipe.n_global :]
        return Views(
            with_holes(made.large, large),
            None if made.small is None else with_holes(made.small, small),
        )

    def write_preview(
        self, path: Path, data: ImageSet, indices: Tensor, recipe: ViewRecipe, *, seed: int
    ) -> None:
        """Write a PNG: a row per image, the image first, then its global and its local views."""
        draw_preview(path, data, indices, recipe, seed=seed)


VIEWING = ImageViewing()
