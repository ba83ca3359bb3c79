"""A picture of what the model will see."""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn

from isojepa.encoders.modalities.images.images import ImageSet
from isojepa.encoders.modalities.images.masks import draw_masks, with_holes
from isojepa.encoders.modalities.images.parameters import (
    ViewParameters,
    centre_parameters,
    draw_parameters,
)
from isojepa.encoders.modalities.images.recipes import ViewRecipe
from isojepa.encoders.modalities.images.rendering import render_views
from isojepa.files import write_atomically

MARGIN = 4
ACROSS = 8  # pictures side by side, at most, where an image has fewer views
TILE = 112  # smallest side of a picture in the grid, in pixels


def draw_preview(
    path: Path, images: ImageSet, indices: Tensor, recipe: ViewRecipe, *, seed: int, rows: int = 8
) -> None:
    """Write a PNG: the image first, then its global and its local views; where these are few, two
    or three images side by side.

    Local views are drawn at their true size relative to the global ones.
    """
    beside = max(1, ACROSS // (1 + recipe.views))
    shown = min(beside * rows, len(indices) - len(indices) % beside or 1)
    chosen = indices[torch.linspace(0, len(indices) - 1, shown).long()]
    squares, aspects = images.read(chosen)
    parameters = draw_parameters(recipe, aspects, seed=seed, step=0, first=0, total=len(chosen))
    large = ViewParameters(*(x[: recipe.n_global] for x in parameters))
    local = ViewParameters(*(x[recipe.n_global :] for x in parameters))
    size = recipe.global_size
    whole = render_views(squares, centre_parameters(aspects), size)
    missing = draw_masks(
        recipe.masked, recipe.views, seed=seed, step=0, first=0, n=len(chosen), total=len(chosen)
    )
    views = with_holes(render_views(squares, large, size), missing[: recipe.n_global], 0.5)
    columns = [whole, views]
    if recipe.n_local:
        views = render_views(squares, local, recipe.local_size)
        views = with_holes(views, missing[recipe.n_global :], 0.5)
        pad = size - recipe.local_size
        columns.append(nn.functional.pad(views, (pad // 2, pad - pad // 2) * 2, value=1.0))
    write_atomically(path, _png(torch.cat(columns), beside if shown >= beside else 1))


def as_colours(pixels: UInt8[np.ndarray, "*n c"]) -> UInt8[np.ndarray, "*n d"]:
    """Pixels of any channels as a screen can show them: the first three as red, green and blue, of
    two the second in green."""
    channels = pixels.shape[-1]
    if channels == 2:
        return np.concatenate([pixels, np.zeros_like(pixels[..., :1])], -1)
    return pixels if channels == 1 else pixels[..., :3]


def _png(tiles: Tensor, beside: int) -> bytes:
    """Tiles (columns, images, c, h, w) in [0, 1] on a white sheet, so many images side by side,
    enlarged where they are tiny."""
    enlarge = max(1, TILE // tiles.shape[-1])
    tiles = tiles.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    tiles = nn.functional.pad(tiles, (MARGIN,) * 4, value=1.0)
    v, n, c, h, w = tiles.shape
    strips = tiles.permute(1, 3, 0, 4, 2).reshape(n, h, v * w, c)
    strips = nn.functional.pad(strips, (0, 0, 0, 4 * MARGIN), value=1.0)
    rows = strips.unflatten(0, (n // beside, beside)).transpose(1, 2)
    sheet = rows.reshape(n // beside * h, -1, c)[:, : -4 * MARGIN]
    pixels = as_colours((sheet * 255).round().byte().cpu().numpy())
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if c == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()
