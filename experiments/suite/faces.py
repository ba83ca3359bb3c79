"""200 patches of 25 x 25 pixels, grey: faces, and what is around faces. Very few images.

    python experiments/suite/faces.py --out sets/faces

From scikit-image's wheel (a subset of Labeled Faces in the Wild): 100 of each. Of each class the
last 50 are for tests.
"""

from collections.abc import Iterator

import numpy as np

from made import Picture, main, package, some


def pictures(share: float, _seed: int) -> Iterator[Picture]:
    images = np.load(package("skimage") / "data" / "lfw_subset.npy")
    for label, part in (("face", images[:100]), ("other", images[100:])):
        part = part[: some(len(part), share, 20)]
        for i, image in enumerate(part):
            pixels = (255 * np.clip(image, 0, 1)).round().astype(np.uint8)
            yield Picture("train" if i < len(part) / 2 else "test", label, pixels)


if __name__ == "__main__":
    main(pictures)
