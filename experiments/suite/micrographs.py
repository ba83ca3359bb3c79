"""Grey patches of 40 pixels of six stains and tissues: no way is up, brightness says nothing.

    python experiments/suite/micrographs.py --out sets/micrographs

From scikit-image's wheel: two stains of an immunohistochemical section (colour
deconvolution), a cell in fluorescence, the retina in green and in red light, and its small
aneurysms. Each patch is turned by a random multiple of 90 degrees, mirrored or not, and given a
random mean and contrast. Training and test patches come from different regions.
"""

from collections.abc import Iterator

import numpy as np
from skimage.color import rgb2hed

from made import Picture, Split, main, photograph, some
from patches import cut

SIDE, TRAIN, TEST, FLAT = 40, 450, 110, 2.0


def specimens() -> dict[str, np.ndarray]:
    stains, retina = rgb2hed(photograph("ihc")), photograph("retina")
    found = {"ihc_haematoxylin": stains[..., 0], "ihc_dab": stains[..., 2]}
    found |= {"retina_green": retina[..., 1], "retina_red": retina[..., 0]}
    found |= {name: photograph(name)[..., 1] for name in ("cell", "microaneurysms")}
    return {name: _scaled(image) for name, image in found.items()}


def _scaled(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, [0.5, 99.5])
    return 255 * ((image - low) / (high - low)).clip(0, 1)


def pictures(share: float, seed: int) -> Iterator[Picture]:
    counts: dict[Split, int] = {"train": some(TRAIN, share), "test": some(TEST, share)}
    for i, (name, image) in enumerate(specimens().items()):
        rng = np.random.default_rng([seed, i])
        side = SIDE if min(image.shape) > 4 * SIDE else 20
        for split, patch in cut(image, side, counts, rng, FLAT):
            turned = np.rot90(patch, int(rng.integers(4)))
            turned = turned[:, ::-1] if rng.random() < 0.5 else turned
            turned = turned.repeat(SIDE // side, 0).repeat(SIDE // side, 1)
            unit = (turned - turned.mean()) / turned.std()
            shown = rng.uniform(100, 156) + rng.uniform(25, 50) * unit
            pixels = shown.clip(0, 255).round().astype(np.uint8)
            yield Picture(split, name, pixels)


if __name__ == "__main__":
    main(pictures)
