"""Which changes of an image make another image such as the folder holds: asked of the images.

An augmentation tells the encoder that a change means nothing. Where a changed image could itself
lie in the folder, that may be so; where it could not, what is told is wrong: a mirrored letter is
no letter. No label is needed to see it, only each image's nearest neighbour among the others.
Likewise colour: where images alike in structure are as unlike in colour as any two, colour has
nothing to do with what they show, and views that keep it could agree by it alone. And drawings,
which a small part does not stand for as it does for a texture, are told by their plain ground; if
those of one shape are brighter than it or darker by chance, that means nothing either.
"""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from isojepa.encoders.modalities.images.colour import LUMA

Colours = Literal["keep", "vary"]
Polarity = Literal["keep", "vary"]
SAMPLE = 600
"""Images looked at; a share of them is known to 4 points."""
SIDE = 16
"""Their side, in pixels: shapes are compared, not grain."""
FEWEST = 50
"""Fewer images say nothing for certain: everything is left as the recipe has it."""
FOREIGN = 0.65
"""Share of images whose mirror image is farther from the others than they are, above which it is
no image of the folder; 0.5 under perfect symmetry. Photographs and icons have 0.5 to 0.65,
documents, digits and spectrograms 0.8 to 1 (docs/explanation/decisions.md)."""
UNRELATED = 0.87
"""Difference in colour of images alike in structure, as a share of that of any two, above which
colour is unrelated to structure. Photographs have 0.4, icons and letters of any colour 1."""
PLAIN = 0.35
"""Share of neighbouring pixels without a difference to see, above which images are drawings:
glyphs, icons and a simulator's frames have 0.46 to 0.63, photographs and scans 0.06 to 0.25."""
BY_CHANCE = 0.3
"""Agreement in polarity of drawings alike in shape, of which chance is 0 and certainty 1, below
which polarity is unrelated to shape. Icons and letters of any colour have 0, digits 1."""
RARE = 0.1
"""Share of drawings of one polarity below which all are taken to be of the other."""
SEEN = 0.02
"""A difference to see, as a share of the image's range."""
TINTED = 0.01
"""Standard deviation of chroma between images, of 1, below which there is no colour to speak of."""


class Symmetries(NamedTuple):
    """What the images say; None where they are too few or do not vary."""

    images: int
    """How many were looked at."""
    mirrored: float | None = None
    """Share of them whose mirror image is farther from the others than they are themselves."""
    unlike: float | None = None
    """How unlike in colour images alike in structure are, as a share of any two images."""
    plain: float | None = None
    """Share of the pixels that are no different from the next ones."""
    agreed: float | None = None
    """How far drawings alike in shape agree in being brighter or darker than their ground, beyond
    chance; None of other images."""

    @property
    def upright(self) -> bool:
        """Whether a mirror image is foreign to the folder, beyond the sample's noise."""
        if self.mirrored is None:
            return False
        error = math.sqrt(self.mirrored * (1 - self.mirrored) / self.images)
        return self.mirrored - 2 * error > FOREIGN

    @property
    def drawn(self) -> bool:
        """Whether these are drawings, in which most of an image is ground."""
        return self.plain is not None and self.plain > PLAIN

    @property
    def colours(self) -> Colours:
        """Whether colour belongs to what is shown."""
        return "vary" if self.unlike is not None and self.unlike > UNRELATED else "keep"

    @property
    def polarity(self) -> Polarity:
        """Whether bright on dark and dark on bright are different things."""
        return "vary" if self.agreed is not None and self.agreed < BY_CHANCE else "keep"

    def in_words(self) -> str:
        """What was chosen and why, in one line."""
        if self.mirrored is None:
            return f"augmentations: the recipe's own ({self.images} images are too few to ask)"
        farther = f"in {self.mirrored:.0%} of {self.images} images the mirror image is farther"
        said = (
            f"views are not mirrored ({farther} from the others than the image; --mirror yes)"
            if self.upright
            else f"views are mirrored ({farther} from the others, near chance; --mirror no)"
        )
        if self.drawn and not self.upright:
            said += (
                f"; drawings, as {self.plain:.0%} is plain ground: recipe glyph (--recipe small)"
            )
        if self.polarity == "vary":
            said += (
                "; bright and dark are exchanged in half of the views, as drawings alike in shape "
                "agree in it by chance (--polarity keep)"
            )
        if self.unlike is None:
            return said
        ratio = f"images alike in structure differ in colour {self.unlike:.2f} times as any two do"
        return said + (
            f"; colours vary freely, so that views cannot agree by them ({ratio}; --colours keep)"
            if self.colours == "vary"
            else f"; colours vary a little ({ratio}: they belong to what is shown; --colours vary)"
        )


def symmetries(images: UInt8[Tensor, "n c h w"]) -> Symmetries:
    """Ask a sample of images, at `SIDE` pixels; grey ones have one channel."""
    n = len(images)
    if n < FEWEST:
        return Symmetries(n)
    x = images.double() / 255
    luma = torch.tensor(LUMA, dtype=x.dtype)[:, None, None]
    grey = (x * luma).sum(1) if x.shape[1] == 3 else x[:, 0]
    if float(grey.std(0).max()) == 0:
        return Symmetries(n)
    chroma = (x - grey[:, None]).mean((2, 3)).numpy() if x.shape[1] == 3 else None
    plain = plainness(x)
    shapes, agreed = grey, None
    if plain > PLAIN:
        shapes = figures(grey)
        agreed = agreement(shapes, grey.mean((1, 2)) > grey.flatten(1).median(1).values)
    coloured = chroma is not None and float(chroma.std(0).max()) >= TINTED
    return Symmetries(
        n,
        mirrored=share_farther(shapes, shapes.flip(-1)),
        unlike=unlikeness(structure(grey), chroma) if coloured and chroma is not None else None,
        plain=plain,
        agreed=agreed,
    )


def share_farther(images: Float[Tensor, "n h w"], changed: Float[Tensor, "n h w"]) -> float:
    """Share of images that lie nearer to the nearest other image than their changed form does.

    The brightness and the contrast of each are taken out. Ties count one half, so that a change
    that changes nothing has 0.5.
    """
    x, y = _unit(images), _unit(changed)
    gap = _to_others(y, x).min(1) - _to_others(x, x).min(1)
    near = np.abs(gap) <= 1e-5  # rounding
    return float(np.mean(np.where(near, 0.5, gap > 0)))


def figures(images: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """What stands out from the ground, brighter or darker, moved to the middle of each image.

    Nearest neighbours are then of the same shape, not of the same place and sign of contrast.
    """
    ground = images.flatten(1).median(1).values
    shapes = (images - ground[:, None, None]).abs()
    total = shapes.sum((1, 2)).clamp_min(1e-6)
    moved = []
    for shape, weight in zip(shapes, total):
        middle = [
            (shape.sum(1 - axis) * torch.arange(len(shape))).sum() / weight for axis in (0, 1)
        ]
        shifts = [round((len(shape) - 1) / 2 - float(m)) for m in middle]
        moved.append(torch.roll(shape, shifts, (0, 1)))
    return torch.stack(moved)


def agreement(shapes: Float[Tensor, "n h w"], bright: Bool[Tensor, " n"]) -> float:
    """Cohen's kappa of each image's polarity and that of the image nearest in shape."""
    of_each = bright.numpy()
    share = float(of_each.mean())
    if min(share, 1 - share) < RARE:
        return 1.0
    unit = _unit(shapes)
    same = float((of_each == of_each[_to_others(unit, unit).argmin(1)]).mean())
    chance = share**2 + (1 - share) ** 2
    return (same - chance) / (1 - chance)


def plainness(images: Float[Tensor, "n c h w"]) -> float:
    """Share of the pixels that differ in no channel from the next one to the right and below."""
    right = images.diff(dim=3).abs().amax(1)[:, :-1]
    below = images.diff(dim=2).abs().amax(1)[:, :, :-1]
    spread = images.amax((1, 2, 3)) - images.amin((1, 2, 3))
    return float((torch.maximum(right, below) <= SEEN * spread[:, None, None]).double().mean())


def structure(images: Float[Tensor, "n h w"]) -> Float[np.ndarray, "n f"]:
    """Each image's spectrum of low frequencies, which tells textures and shapes apart anywhere.

    Logarithms of magnitudes, standardised over the images.
    """
    centred = images - images.mean((1, 2), keepdim=True)
    half = images.shape[-1] // 2
    spectrum = torch.fft.fft2(centred).abs()[:, :half, :half].flatten(1)
    x = (spectrum + 1e-2).log().numpy()
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)


def unlikeness(structures: Float[np.ndarray, "n f"], colours: Float[np.ndarray, "n k"]) -> float:
    """Mean difference in colour of each image to the one nearest in structure, relative to any."""
    nearest = _to_others(structures, structures).argmin(1)
    alike = np.linalg.norm(colours - colours[nearest], axis=1).mean()
    everyone = _distances(colours, colours)
    return float(alike / (everyone.sum() / (len(colours) * (len(colours) - 1))))


def _to_others(
    x: Float[np.ndarray, "n f"], y: Float[np.ndarray, "n f"]
) -> Float[np.ndarray, "n n"]:
    """Distances of each row to those of all others; infinite to its own."""
    found = _distances(x, y)
    np.fill_diagonal(found, np.inf)
    return found


def _distances(
    x: Float[np.ndarray, "n f"], y: Float[np.ndarray, "q f"]
) -> Float[np.ndarray, "n q"]:
    """By PyTorch, which is there: importing scikit-learn for it takes as long as an update."""
    wide = [torch.from_numpy(np.asarray(a, np.float64)) for a in (x, y)]
    return torch.cdist(wide[0], wide[1]).numpy()


def _unit(images: Float[Tensor, "n h w"]) -> Float[np.ndarray, "n p"]:
    x = images.flatten(1)
    x = x - x.mean(1, keepdim=True)
    return (x / x.norm(dim=1, keepdim=True).clamp_min(1e-6)).numpy()
