"""Patches of large images, cut so that no pixel is ever in training and in tests.

An image is laid out in square blocks; every fourth block, counted along a diagonal, is for tests.
A patch lies within one block.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from made import SPLITS, Split

BLOCK = 2.0
"""Side of a block, in patches."""


def is_test(row: int, column: int) -> bool:
    """Whether a block is for tests."""
    return (row + 2 * column) % 4 == 3


def cut(
    image: np.ndarray, side: int, counts: Mapping[Split, int], rng: np.random.Generator, flat: float
) -> Iterator[tuple[Split, np.ndarray]]:
    """Yield (split, patch): so many of each split, none with a deviation below `flat` of 255."""
    block = round(BLOCK * side)
    rows, columns = (max(1, n // block) for n in image.shape[:2])
    places = [(r, c) for r in range(rows) for c in range(columns)]
    for split in SPLITS:
        count = counts.get(split, 0)
        here = [(r, c) for r, c in places if is_test(r, c) == (split == "test")]
        made = tries = 0
        while made < count and tries < 200 * count:
            tries += 1
            r, c = here[rng.integers(len(here))]
            top, left = (block * x + rng.integers(0, block - side + 1) for x in (r, c))
            patch = image[top : top + side, left : left + side]
            if patch.shape[:2] == (side, side) and patch.std() >= flat:
                made += 1
                yield split, patch
