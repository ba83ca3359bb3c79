"""Random views of a batch of images, made on whatever device holds them.

Crop, antialiased resize, flip and blur are one pair of small matrices per sample, applied as
rows @ image @ columns; brightness, contrast, saturation and hue are one 3 x 3 matrix and an offset.
A batch of views is therefore three batched matrix products, with no loop over samples.
The parameters are drawn on the CPU for the whole global batch from (seed, step): position p of
step s gets the same views on any number of ranks, after any resume, on any device.
"""

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.randomness import Stream, generator

CROP_ATTEMPTS = 10
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What varies between the views of one image. Probabilities are in [0, 1]."""

    n_global: int
    """Number of large views."""
    n_local: int
    """Number of small views."""
    global_size: int
    """Side of the global views, in pixels."""
    local_size: int
    """Side of the local views, in pixels."""
    global_scale: tuple[float, float]
    """Smallest and largest share of the image's area in a global view."""
    local_scale: tuple[float, float]
    """Smallest and largest share of the image's area in a local view."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width over height of a crop, in the image's own geometry."""
    flip: float = 0.0
    """Probability of a horizontal flip."""
    rotate: float = 0.0
    """Largest rotation either way, in degrees."""
    shear: float = 0.0
    """Largest horizontal shear either way, in degrees."""
    jitter: float = 0.0
    """Probability that brightness, contrast, saturation and hue change."""
    brightness: float = 0.4
    """Largest relative change of brightness."""
    contrast: float = 0.4
    """Largest relative change of contrast."""
    saturation: float = 0.2
    """Largest relative change of saturation."""
    hue: float = 0.1
    """Largest change of hue, as a share of the full circle."""
    grey: float = 0.0
    """Probability of removing all colour."""
    blur: float = 0.0
    """Probability of a Gaussian blur of 0.1 to 2 pixels at 224 px, in proportion at other sizes."""
    solarise: float = 0.0
    """Probability of inverting the pixels brighter than one half."""

    @property
    def views(self) -> int:
        """Number of views in all."""
        return self.n_global + self.n_local


def small_side(side: float) -> int:
    """A side for local views near the one given: a multiple of 16, which most networks read.

    The paper's 98 of 224 pixels suit patches of 14; those of 16 read 96.
    """
    return 16 * math.floor(side / 16 + 0.5) if side > 12 else max(8, round(side))


def photo(size: int, n_global: int = 2, n_local: int = 6) -> Recipe:
    """The paper's augmentations, for photographs."""
    return Recipe(
        n_global=n_global,
        n_local=n_local,
        global_size=size,
        local_size=small_side(size * 98 / 224),
        global_scale=(0.3, 1.0),
        local_scale=(0.05, 0.3),
        flip=0.5,
        jitter=0.8,
        grey=0.2,
        blur=0.5,
        solarise=0.2,
    )


def small(size: int, n_global: int = 4, n_local: int = 0) -> Recipe:
    """For pictures of 32 to 64 pixels: all views global, no blur of what is already coarse."""
    return replace(photo(size, n_global, n_local), global_scale=(0.2, 1.0), blur=0.0, solarise=0.1)


def glyph(size: int, n_global: int = 4, n_local: int = 0) -> Recipe:
    """For digits, letters and documents: no flips, no hue surprises; slight turns and shears."""
    return Recipe(
        n_global=n_global,
        n_local=n_local,
        global_size=size,
        local_size=small_side(size / 2),
        global_scale=(0.3, 1.0),
        local_scale=(0.1, 0.3),
        rotate=15.0,
        shear=10.0,
        jitter=0.8,
        saturation=0.0,
        hue=0.0,
    )


def none(size: int, n_global: int = 2, n_local: int = 0) -> Recipe:
    """The whole image, unchanged, in every view."""
    return Recipe(
        n_global=n_global,
        n_local=n_local,
        global_size=size,
        local_size=size,
        global_scale=(1.0, 1.0),
        local_scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
    )


RECIPES = {"photo": photo, "small": small, "glyph": glyph, "none": none}


class ViewParameters(NamedTuple):
    """How to make each view of each sample. Axes: v views, n samples."""

    left: Float[Tensor, "v n"]
    """Left edge of the crop as a share of the image's width; likewise below."""
    top: Float[Tensor, "v n"]
    width: Float[Tensor, "v n"]
    height: Float[Tensor, "v n"]
    flip: Float[Tensor, "v n"]
    """1 to flip, 0 not to."""
    angle: Float[Tensor, "v n"]
    """Rotation in radians."""
    shear: Float[Tensor, "v n"]
    """Horizontal shear in radians."""
    brightness: Float[Tensor, "v n"]
    """Factor; 1 changes nothing, and likewise for contrast and saturation (0: grey)."""
    contrast: Float[Tensor, "v n"]
    saturation: Float[Tensor, "v n"]
    hue: Float[Tensor, "v n"]
    """Rotation of the colour circle in radians."""
    sigma: Float[Tensor, "v n"]
    """Standard deviation of the blur as a share of the view's side, 0 for none."""
    solarise: Float[Tensor, "v n"]
    """1 to invert what is brighter than one half."""


class Effects(NamedTuple):
    """What at least one view of a batch has, and the others pass through unchanged."""

    blur: bool
    warp: bool
    """Rotation or shear."""
    solarise: bool


class Views(NamedTuple):
    """The views of a batch, normalised per channel."""

    large: Float[Tensor, "v n c h w"]
    """Global views."""
    small: Float[Tensor, "v n c h w"] | None
    """Local views, of another size."""


def draw_parameters(
    recipe: Recipe, aspects: Float[Tensor, " n"], *, seed: int, step: int, first: int, total: int
) -> ViewParameters:
    """Draw the parameters for positions first, ..., first + n - 1 of a global batch.

    Args:
        recipe: what varies.
        aspects: width over height of each original image, on the CPU.
        seed, step: non-negative keys of the draw.
        first: position of the first of these samples in the global batch.
        total: size of the global batch.
    """
    u = torch.rand(
        recipe.views, total, 2 * CROP_ATTEMPTS + 14, generator=generator(seed, step, Stream.VIEWS)
    )[:, first : first + len(aspects)]
    crops, (x, y, *rest) = u[..., : 2 * CROP_ATTEMPTS], u[..., 2 * CROP_ATTEMPTS :].unbind(-1)
    width, height = _crop_sizes(recipe, crops, aspects)
    flip, angle, shear, jitter, brightness, contrast, saturation, hue, grey, blur, sigma, sol = rest
    jittered = (jitter < recipe.jitter).float()
    return ViewParameters(
        left=x * (1 - width),
        top=y * (1 - height),
        width=width,
        height=height,
        flip=(flip < recipe.flip).float(),
        angle=_symmetric(angle) * math.radians(recipe.rotate),
        shear=_symmetric(shear) * math.radians(recipe.shear),
        brightness=1 + jittered * _symmetric(brightness) * recipe.brightness,
        contrast=1 + jittered * _symmetric(contrast) * recipe.contrast,
        saturation=(grey >= recipe.grey).float()
        * (1 + jittered * _symmetric(saturation) * recipe.saturation),
        hue=jittered * _symmetric(hue) * recipe.hue * 2 * math.pi,
        sigma=(blur < recipe.blur).float() * (0.1 + 1.9 * sigma) / 224,
        solarise=(sol < recipe.solarise).float(),
    )


def centre_parameters(aspects: Float[Tensor, " n"]) -> ViewParameters:
    """The evaluation view: the central square of each image, otherwise unchanged."""
    aspects = aspects.unsqueeze(0)
    width, height = (1 / aspects).clamp_max(1), aspects.clamp_max(1)
    zero, one = torch.zeros_like(aspects), torch.ones_like(aspects)
    return ViewParameters(
        left=(1 - width) / 2,
        top=(1 - height) / 2,
        width=width,
        height=height,
        flip=zero,
        angle=zero,
        shear=zero,
        brightness=one,
        contrast=one,
        saturation=one,
        hue=zero,
        sigma=zero,
        solarise=zero,
    )


def effects_of(parameters: ViewParameters) -> Effects:
    """The effects that any of the views has."""
    return Effects(
        blur=bool(parameters.sigma.any()),
        warp=bool(parameters.angle.any() or parameters.shear.any()),
        solarise=bool(parameters.solarise.any()),
    )


def render(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    size: int,
    effects: Effects | None = None,
) -> Float[Tensor, "v n c h w"]:
    """Make the views, of side `size`, with values in [0, 1], on the images' device.

    The order is crop and resize, flip, blur, rotate and shear, colour, solarise.

    Args:
        effects: which of them any view has, if that is known; else it is read off the parameters.
    """
    if effects is None:
        effects = effects_of(parameters)
    pixels = images.float() / 255
    p = ViewParameters(*(x.to(images.device, non_blocking=True) for x in parameters))
    views = []
    for i in range(p.left.shape[0]):  # over views, so that the images are not copied v times
        rows = _resampling(p.top[i], p.height[i], images.shape[-2], size)
        columns = _resampling(p.left[i], p.width[i], images.shape[-1], size, p.flip[i])
        if effects.blur:
            blur = _blurring(p.sigma[i] * size, size)
            rows, columns = blur @ rows, blur @ columns
        view = rows.unsqueeze(1) @ pixels @ columns.unsqueeze(1).mT
        if effects.warp:
            view = _warp(view, p.angle[i], p.shear[i])
        view = _recolour(view, p.brightness[i], p.contrast[i], p.saturation[i], p.hue[i])
        view = view.clamp(0, 1)
        if effects.solarise:
            invert = (p.solarise[i, :, None, None, None] > 0) & (view > 0.5)
            view = torch.where(invert, 1 - view, view)
        views.append(view)
    return torch.stack(views)


def make_views(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    recipe: Recipe,
    mean: list[float],
    std: list[float],
) -> Views:
    """Render the recipe's global and local views and normalise them per channel."""
    large = ViewParameters(*(x[: recipe.n_global] for x in parameters))
    views = [normalise(render(images, large, recipe.global_size), mean, std)]
    if not recipe.n_local:
        return Views(views[0], None)
    local = ViewParameters(*(x[recipe.n_global :] for x in parameters))
    return Views(views[0], normalise(render(images, local, recipe.local_size), mean, std))


def centre_view(
    images: UInt8[Tensor, "n c s s"],
    aspects: Float[Tensor, " n"],
    size: int,
    mean: list[float],
    std: list[float],
) -> Float[Tensor, "n c h w"]:
    """The normalised evaluation view of each image."""
    plain = Effects(blur=False, warp=False, solarise=False)  # no look at values: it can be exported
    return normalise(render(images, centre_parameters(aspects), size, plain), mean, std)[0]


def normalise(
    x: Float[Tensor, "... c h w"], mean: list[float], std: list[float]
) -> Float[Tensor, "... c h w"]:
    """Subtract the mean and divide by the standard deviation of each channel."""
    shift = torch.tensor(mean, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    scale = torch.tensor(std, dtype=x.dtype)[:, None, None].to(x.device, non_blocking=True)
    return (x - shift) / scale


def _symmetric(u: Tensor) -> Tensor:
    return 2 * u - 1


def _crop_sizes(recipe: Recipe, u: Tensor, aspects: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height, as shares of the image's, of the first crop that fits in ten draws."""
    scales = [recipe.global_scale] * recipe.n_global + [recipe.local_scale] * recipe.n_local
    scale = torch.tensor(scales)
    low, high = scale[:, None, None].unbind(-1)
    area = low + (high - low) * u[..., :CROP_ATTEMPTS]
    log_low, log_high = math.log(recipe.ratio[0]), math.log(recipe.ratio[1])
    ratio = torch.exp(log_low + (log_high - log_low) * u[..., CROP_ATTEMPTS:])
    relative = ratio / aspects[:, None]  # the crop's ratio in the squeezed image's geometry
    width, height = (area * relative).sqrt(), (area / relative).sqrt()
    fits = (width <= 1 + 1e-6) & (height <= 1 + 1e-6)
    first = fits.float().argmax(-1, keepdim=True)
    # None fits an elongated image: the largest central crop of an allowed ratio, as torchvision.
    fallback = (aspects.clamp(*recipe.ratio) / aspects).expand(u.shape[:2])
    some = fits.any(-1)
    width = torch.where(some, width.gather(-1, first)[..., 0], fallback.clamp_max(1))
    height = torch.where(some, height.gather(-1, first)[..., 0], (1 / fallback).clamp_max(1))
    return width.clamp_max(1), height.clamp_max(1)


def _resampling(
    start: Tensor, extent: Tensor, source: int, target: int, flip: Tensor | None = None
) -> Float[Tensor, "n t s"]:
    """Matrices that cut [start, start + extent] out of [0, 1] and resize it, antialiased.

    A triangle filter as wide as the shrinkage, as in Pillow and torchvision's antialiased bilinear.
    """
    position = (torch.arange(target, device=start.device) + 0.5) / target
    position = position.expand(start.shape[0], target)  # `len` would fix it in an export
    if flip is not None:
        position = torch.where(flip[:, None] > 0, 1 - position, position)
    centre = (start[:, None] + extent[:, None] * position) * source
    support = (extent * source / target).clamp_min(1)[:, None, None]
    pixel = torch.arange(source, device=start.device) + 0.5
    weights = (1 - (pixel - centre[..., None]).abs() / support).clamp_min(0)
    return weights / weights.sum(-1, keepdim=True)


def _blurring(sigma: Tensor, size: int) -> Float[Tensor, "n t t"]:
    pixel = torch.arange(size, device=sigma.device)
    squared = (pixel[:, None] - pixel).square()
    weights = torch.exp(-0.5 * squared / sigma.square().clamp_min(1e-4)[:, None, None])
    return weights / weights.sum(-1, keepdim=True)


def _warp(view: Tensor, angle: Tensor, shear: Tensor) -> Tensor:
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    top = torch.stack([cos, cos * shear.tan() - sin, zero], -1)
    bottom = torch.stack([sin, sin * shear.tan() + cos, zero], -1)
    grid = torch.nn.functional.affine_grid(
        torch.stack([top, bottom], -2), list(view.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(
        view, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def _recolour(
    view: Float[Tensor, "n c h w"],
    brightness: Tensor,
    contrast: Tensor,
    saturation: Tensor,
    hue: Tensor,
) -> Float[Tensor, "n c h w"]:
    """Change luma and chroma by one affine map per sample.

    Brightness b and contrast c act on the luma Y as b (c Y + (1 - c) mean Y); saturation s and hue
    h scale and turn the chroma plane by b c s. Written so, the four commute, and torchvision's
    random order has nothing to randomise. Images without three channels have luma only.
    """
    n, channels, h, w = view.shape
    gain = brightness * contrast
    means = view.mean((2, 3))
    if channels != 3:
        offset = (brightness * (1 - contrast))[:, None] * means.mean(1, keepdim=True)
        return view * gain[:, None, None, None] + offset[:, :, None, None]
    luma = torch.tensor(LUMA, device=view.device, dtype=view.dtype)
    matrix = gain[:, None, None] * _chroma(luma, saturation, hue)
    offset = (brightness * (1 - contrast) * (means @ luma))[:, None, None]
    return torch.baddbmm(offset, matrix, view.reshape(n, 3, h * w)).reshape(view.shape)


def _chroma(luma: Tensor, saturation: Tensor, hue: Tensor) -> Float[Tensor, "n 3 3"]:
    """Maps RGB to RGB, keeping the luma, scaling and turning the chroma around the grey axis."""
    eye = torch.eye(3, device=luma.device, dtype=luma.dtype)
    grey = luma.expand(3, 3)  # x -> (Y, Y, Y)
    chroma = eye - grey
    # Rotation by 90 degrees in the plane orthogonal to grey, then made to keep the luma at zero.
    ones = torch.ones(3, device=luma.device, dtype=luma.dtype) / math.sqrt(3)
    cross = torch.linalg.cross(ones.expand(3, 3), eye, dim=-1).mT
    plane = eye - torch.outer(ones, ones)
    quarter = chroma @ cross @ plane
    along = chroma @ plane
    turned = hue.cos()[:, None, None] * along + hue.sin()[:, None, None] * quarter
    return grey + saturation[:, None, None] * turned
