"""A diagnosis in a notebook: HTML without scripts, in the colours of the notebook around it."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from isojepa.embeddings.directions import Direction
from isojepa.embeddings.measurement import Measurement
from isojepa.embeddings.spectrum import Spectrum
from isojepa.pages.embeddings.page import shown_directions, target
from isojepa.theme.findings import Verdict
from isojepa.theme.render import render

WIDTH, HEIGHT = 320, 130
"""Of a picture, in its own units; it grows with its place."""


class Polyline(NamedTuple):
    """A line of a picture."""

    kind: str
    """samples or target."""
    points: str
    """As SVG has them: x,y x,y ..."""


class Picture(NamedTuple):
    """Lines that share their axes."""

    title: str
    caption: str
    lines: tuple[Polyline, ...]


def notebook_fragment(m: Measurement, verdict: Verdict) -> str:
    """The verdict, the figures, two pictures, the tests and the findings."""
    directions = shown_directions(m)
    pictures = [_spectrum_picture(m.spectrum)] if m.spectrum.d > 1 and m.distances else []
    pictures += [_direction_picture(directions[0])] if directions else []
    return render(
        Path(__file__).with_name("notebook.html"),
        {},
        m=m,
        verdict=verdict,
        target=target(m),
        pictures=pictures,
        size=(WIDTH, HEIGHT),
    )


def _spectrum_picture(spectrum: Spectrum) -> Picture:
    top = spectrum.eigenvalues[0]
    floor = max(1e-6 * top, 1e-300)
    curves = [np.log(v.clip(min=floor)) for v in (spectrum.isotropic, spectrum.eigenvalues)]
    caption = f"{spectrum.d:,} axes, the widest first; logarithmic"
    return Picture("Variance along the principal axes", caption, _lines(curves))


def _direction_picture(direction: Direction) -> Picture:
    low, high = np.quantile(direction.values, [0.001, 0.999])
    low, high = min(float(low), -3.5), max(float(high), 3.5)
    density, edges = np.histogram(direction.values, 41, (low, high), density=True)
    normal = stats.norm.pdf((edges[1:] + edges[:-1]) / 2)
    caption = f"{direction.title}: {low:.1f} to {high:.1f}"
    return Picture("Density along the worst direction", caption, _lines([normal, density], 0.0))


def _lines(curves: Sequence[np.ndarray], *levels: float) -> tuple[Polyline, ...]:
    """Target and samples, in that order, over a common range that holds `levels` too."""
    everything = np.concatenate([*curves, levels])
    low, high = float(everything.min()), float(everything.max())
    middle, half = (low + high) / 2, max((high - low) / 2, 1e-9) * 1.08

    def points(values: Iterable[float], n: int) -> str:
        places = (
            f"{WIDTH * i / max(n - 1, 1):.1f},{HEIGHT / 2 * (1 - (y - middle) / half):.1f}"
            for i, y in enumerate(values)
        )
        return " ".join(places)

    return tuple(
        Polyline(kind, points(curve, len(curve)))
        for kind, curve in zip(("target", "samples"), curves)
    )
