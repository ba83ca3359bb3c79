"""Colour patches of 48 pixels from twelve photographs: colour is a signal, no side is up.

    python experiments/suite/photographs.py --out sets/photographs

From scikit-image's wheel. A patch's class is the photograph it was cut from; training and test
patches come from different regions.
"""

from collections.abc import Iterator

import numpy as np

from made import Picture, Split, main, photograph, some
from patches import cut

PHOTOGRAPHS = (
    "astronaut", "chelsea", "coffee", "coins", "gravel", "brick", "grass", "hubble_deep_field",
    "ihc", "motorcycle_left", "retina", "rocket",
)  # fmt: skip
SIDE, TRAIN, TEST, FLAT = 48, 400, 100, 6.0


def pictures(share: float, seed: int) -> Iterator[Picture]:
    counts: dict[Split, int] = {"train": some(TRAIN, share), "test": some(TEST, share)}
    for i, name in enumerate(PHOTOGRAPHS):
        rng = np.random.default_rng([seed, i])
        for split, patch in cut(photograph(name), SIDE, counts, rng, FLAT):
            yield Picture(split, name, patch)


if __name__ == "__main__":
    main(pictures)
