"""Shortcuts: how much of what was learnt a handful of an image's statistics already predicts.

Views of an image keep its colours unless they are varied, so that they can agree by nothing else.
No label shows it: a quadratic function of nine numbers, the mean colour, the colour of the border
and the spread of each channel, is fitted to the projections of one half of the sample and tried on
the other. Whether that is wrong depends on the images: where those alike in structure are as
unlike in colour as any two, colour says nothing of what they show.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch.nn.functional import adaptive_avg_pool2d

from isojepa.encoders.modalities.images.symmetries import SIDE, UNRELATED, Symmetries, symmetries
from isojepa.theme.findings import Finding
from isojepa.theme.wording import percent

FEWEST = 200
"""Samples below which nothing is said."""
LARGE = 0.35
"""Share of the projections above which agreement leans on the statistics: 0.58 on icons whose views
kept their colours, at k-NN below that of pixels, and 0.17 where colours varied
(docs/explanation/decisions.md)."""


BY_COLOUR = "Views agree by colours that mean nothing"


class Shortcut(NamedTuple):
    """What a handful of statistics predicts."""

    share: float
    """Of the projections' variance, on samples that were not fitted; at least 0."""
    asked: Symmetries
    """What the pictures say of colour."""

    @property
    def misleads(self) -> bool:
        """Whether much was learnt of colours that have nothing to do with what is shown."""
        unlike = self.asked.unlike
        return self.share > LARGE and unlike is not None and unlike > UNRELATED


def shortcut(
    thumbnails: UInt8[np.ndarray, "n h w c"], projections: Float[np.ndarray, "n k"]
) -> Shortcut | None:
    """Fit the statistics to one half and try them on the other; None of fewer than 200 samples."""
    n = len(projections)
    if n < FEWEST or not np.isfinite(projections).all() or np.ptp(projections) == 0:
        return None
    x = PolynomialFeatures(2, include_bias=False).fit_transform(
        StandardScaler().fit_transform(statistics(thumbnails))
    )
    z = projections.astype(np.float64)
    fit, test = slice(0, n, 2), slice(1, n, 2)
    model = RidgeCV(np.logspace(-1, 4, 6)).fit(x[fit], z[fit])
    wrong = np.square(model.predict(x[test]) - z[test]).sum()
    share = 1 - wrong / np.square(z[test] - z[fit].mean(0)).sum()
    pixels = torch.from_numpy(thumbnails).permute(0, 3, 1, 2).float()
    small = adaptive_avg_pool2d(pixels, min(SIDE, *thumbnails.shape[1:3])).round().byte()
    return Shortcut(max(0.0, float(share)), symmetries(small[:600]))


def statistics(thumbnails: UInt8[np.ndarray, "n h w c"]) -> Float[np.ndarray, "n s"]:
    """Mean, spread and border of each channel, in [0, 1]."""
    x = thumbnails.astype(np.float64) / 255
    edges = (x[:, 0], x[:, -1], x[:, :, 0], x[:, :, -1])
    border = np.concatenate(edges, 1).mean(1)
    return np.concatenate([x.mean((1, 2)), x.std((1, 2)), border], 1)


def shortcut_findings(found: Shortcut | None) -> Iterator[Finding]:
    """Whether the views could agree by the pictures' colours alone."""
    if found is None or found.share <= LARGE:
        return
    detail = (
        f"A function of the mean, the spread and the border's colour of a picture predicts "
        f"{percent(found.share)} of the projections of pictures that it was not fitted to."
    )
    if found.misleads:
        yield Finding(
            "warning",
            BY_COLOUR,
            f"{detail} Pictures alike in structure are as unlike in colour as any two, so that "
            "colour has nothing to do with what they show.",
            "--colours vary",
        )
    else:
        yield Finding(
            "note",
            "Much of what was learnt is colour and contrast",
            f"{detail} In these pictures that may be right: look whether neighbours are alike in "
            "more than colour.",
        )
