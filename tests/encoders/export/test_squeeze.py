"""Pillow's own resize is the reference: the tensors give its very bytes."""

import numpy as np
import pytest
import torch
from PIL import Image

from isojepa.encoders.export.squeeze import begins_with_rows, squeeze_pixels

SIZES = [
    (20, 20),
    (9, 13),
    (60, 40),
    (40, 17),
    (37, 150),
    (1000, 17),
    (200, 260),
    (331, 217),
    (2, 90),
]


@pytest.mark.parametrize("side", [16, 20, 24])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_bytes_are_pillows(height: int, width: int, side: int) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (2, height, width, 3), np.uint8)
    got = squeeze_pixels(torch.from_numpy(pixels), side, rows_first=begins_with_rows())
    for image, square in zip(pixels, got.permute(0, 2, 3, 1).numpy()):
        resized = Image.fromarray(image).resize(
            (side, side), Image.Resampling.BICUBIC, reducing_gap=3.0
        )
        np.testing.assert_array_equal(square, np.asarray(resized))
