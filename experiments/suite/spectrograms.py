"""Strips of spectrograms, 32 x 32 pixels, grey: the current that eleven kinds of appliance draw.

    python experiments/suite/spectrograms.py --out sets/spectrograms

PLAID (CC BY 4.0) as sktime's wheel has it: 1,074 real recordings of 11 classes, its own training
and test halves, of different recordings. Each gives several windows; a window's short-time
spectrum, in decibels, is the picture. Up is higher pitch and left to right is time: a flip or a
turn makes a sound that no appliance makes.
"""

from collections.abc import Iterator

import numpy as np
from scipy.signal import stft

from made import SPLITS, Picture, main, package, some

WINDOWS = 4
"""Of a recording, at most."""
SIDE, LENGTH = 32, 64


def recordings(split: str) -> list[tuple[np.ndarray, str]]:
    file = package("sktime") / "datasets" / "data" / "PLAID" / f"PLAID_{split.upper()}.ts"
    lines = file.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines[lines.index("@data") + 1 :] if line.strip()]
    pairs = [row.rsplit(":", 1) for row in rows]
    return [(np.array(v.split(","), float), label.strip()) for v, label in pairs]


def pictures(share: float, seed: int) -> Iterator[Picture]:
    for split in SPLITS:
        rng = np.random.default_rng([seed, split == "test"])
        found = recordings(split)
        for place in np.sort(rng.permutation(len(found))[: some(len(found), share, 30)]):
            series, label = found[place]
            for pixels in strips(series, rng):
                yield Picture(split, f"{int(float(label)):02d}", pixels)


def strips(series: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Pictures of windows of one recording: 32 pitches by 32 moments."""
    hop = min(8, max(1, (len(series) - LENGTH) // SIDE))
    found = stft(series, nperseg=LENGTH, noverlap=LENGTH - hop, boundary=None, padded=False)[2]
    spectrum = np.abs(found)[:SIDE]
    decibels = 20 * np.log10(spectrum + 1e-4 * spectrum.max() + 1e-9)
    moments = decibels.shape[1]
    if moments < SIDE:
        return
    for _ in range(min(WINDOWS, 1 + (moments - SIDE) // 8)):
        start = int(rng.integers(moments - SIDE + 1))
        strip = decibels[::-1, start : start + SIDE]
        low, high = strip.min(), strip.max()
        yield (255 * (strip - low) / max(high - low, 1e-6)).round().astype(np.uint8)


if __name__ == "__main__":
    main(pictures)
