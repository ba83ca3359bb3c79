"""1,797 handwritten digits of 8 x 8 pixels, grey: the smallest images, and which way up matters.

    python experiments/suite/digits.py --out sets/digits

From scikit-learn's wheel (UCI, optical recognition of handwritten digits). Every fourth is a test
image, in the file's order, which keeps most writers on one side.
"""

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits

from made import Picture, main, some


def pictures(share: float, _seed: int) -> Iterator[Picture]:
    found = load_digits()
    n = some(len(found.target), share, 100)
    cut = 3 * n // 4
    for i, (label, image) in enumerate(zip(found.target[:n], found.images[:n])):
        pixels = (image / 16 * 255).round().astype(np.uint8)
        yield Picture("train" if i < cut else "test", str(label), pixels)


if __name__ == "__main__":
    main(pictures)
