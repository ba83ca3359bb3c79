"""What varies between the views of one image, by name: photo, small, glyph, masked, none."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class ViewRecipe:
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
    invert: float = 0.0
    """Probability of exchanging bright and dark, about the mean brightness."""
    solarise: float = 0.0
    """Probability of inverting the pixels brighter than one half."""
    masked: float = 0.0
    """Share of an 8 x 8 grid of patches that each view lacks, at random: they show the mean."""

    @property
    def views(self) -> int:
        """Number of views in all."""
        return self.n_global + self.n_local


def small_side(side: float) -> int:
    """A side for local views near the one given: a multiple of 16, which most networks read.

    The paper's 98 of 224 pixels suit patches of 14; those of 16 read 96.
    """
    return 16 * math.floor(side / 16 + 0.5) if side > 12 else max(8, round(side))


def photo(size: int, n_global: int = 2, n_local: int = 6) -> ViewRecipe:
    """The paper's augmentations, for photographs."""
    return ViewRecipe(
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


def small(size: int, n_global: int = 4, n_local: int = 0) -> ViewRecipe:
    """For pictures of 32 to 64 pixels: all views global, no blur of what is already coarse."""
    return replace(photo(size, n_global, n_local), global_scale=(0.2, 1.0), blur=0.0, solarise=0.1)


def glyph(size: int, n_global: int = 4, n_local: int = 0) -> ViewRecipe:
    """For digits, letters and documents: no flips, no hue surprises; slight turns and shears."""
    return ViewRecipe(
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


def none(size: int, n_global: int = 2, n_local: int = 0) -> ViewRecipe:
    """The whole image, unchanged, in every view."""
    return ViewRecipe(
        n_global=n_global,
        n_local=n_local,
        global_size=size,
        local_size=size,
        global_scale=(1.0, 1.0),
        local_scale=(1.0, 1.0),
        ratio=(1.0, 1.0),
    )


def masked(size: int, n_global: int = 4, n_local: int = 0) -> ViewRecipe:
    """No augmentation: views agree on what is seen of the whole image through other holes."""
    return replace(none(size, n_global, n_local), masked=0.5)


def free_colours(recipe: ViewRecipe) -> ViewRecipe:
    """The recipe with any hue, strength and contrast of colour in any view: for images whose
    colours have nothing to do with what they show, by which views must not agree."""
    return replace(
        recipe, jitter=1.0, brightness=0.5, contrast=0.5, saturation=0.8, hue=0.5, grey=0.3
    )


RECIPES = {"photo": photo, "small": small, "glyph": glyph, "masked": masked, "none": none}
