"""Augmentations by what the images themselves say: known symmetries, known colours."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from isojepa.encoders.modalities.images.symmetries import (
    Symmetries,
    figures,
    plainness,
    share_farther,
    symmetries,
    unlikeness,
)

SEED = 0


def painted(shapes: np.ndarray, colours: np.ndarray) -> torch.Tensor:
    """Shapes (n, h, w) in [0, 1] in colours (n, 3), as bytes."""
    pixels = shapes[:, None] * colours[:, :, None, None]
    return torch.from_numpy((255 * pixels).round().astype(np.uint8))


def digits() -> np.ndarray:
    return load_digits().images[:500] / 16


def test_a_change_that_changes_nothing_has_one_half_and_a_foreign_one_has_one() -> None:
    x = torch.rand(80, 16, 16)
    assert share_farther(x, 2 * x + 1) == 0.5  # contrast and brightness do not count
    ramps = torch.linspace(0, 1, 16).expand(80, 16, 16) + 0.1 * x
    assert share_farther(ramps, ramps.flip(-1)) == 1.0


def test_images_without_a_way_up_are_mirrored_and_digits_are_not() -> None:
    noise = torch.randint(0, 255, (500, 1, 16, 16), dtype=torch.uint8)
    found = symmetries(noise)
    assert found.mirrored == pytest.approx(0.5, abs=0.1)
    assert not found.upright
    assert symmetries(painted(digits(), np.ones((500, 1)))).upright


def test_colour_is_kept_where_it_goes_with_the_shape_and_varied_where_it_does_not() -> None:
    rng = np.random.default_rng(SEED)
    shapes, labels = digits(), load_digits().target[:500]
    own = painted(shapes, rng.uniform(0.2, 1, (10, 3))[labels])
    any_colour = painted(shapes, rng.uniform(0.2, 1, (500, 3)))
    assert symmetries(own).colours == "keep"
    assert symmetries(any_colour).colours == "vary"


def test_unlikeness_is_one_for_independent_colours_and_zero_for_equal_ones() -> None:
    rng = np.random.default_rng(SEED)
    structures = rng.normal(size=(400, 5))
    assert unlikeness(structures, rng.normal(size=(400, 3))) == pytest.approx(1, abs=0.1)
    assert unlikeness(structures, structures[:, :3]) < 0.6


def test_shapes_on_plain_ground_are_drawings_and_noise_is_not() -> None:
    ground = torch.zeros(80, 1, 16, 16)
    assert (
        plainness(ground.index_fill(3, torch.tensor([5]), 1.0)) == 1 - 2 / 15
    )  # a line's two sides
    shapes = torch.zeros(80, 3, 16, 16, dtype=torch.uint8)
    shapes[:, :, 4:10, 4:10] = torch.randint(100, 255, (80, 3, 1, 1), dtype=torch.uint8)
    assert symmetries(shapes).drawn
    assert not symmetries(torch.randint(0, 255, (80, 3, 16, 16), dtype=torch.uint8)).drawn


def test_a_shape_is_the_same_wherever_it_lies_and_however_it_is_painted() -> None:
    shape = torch.zeros(16, 16)
    shape[3:8, 2:4] = 1.0
    shape[6:8, 2:7] = 1.0
    moved, negative = shape.roll((4, 6), (0, 1)), 1 - 0.5 * shape
    first, second, third = figures(torch.stack([shape, moved, negative]))
    assert torch.equal(first, second)
    assert torch.allclose(first, 2 * third)
    assert int(first.sum(0).argmax()) != int(first.flip(-1).sum(0).argmax())  # not mirrored


def test_polarity_varies_where_shapes_have_either_and_is_kept_where_it_goes_with_them() -> None:
    shapes = torch.from_numpy(np.kron(digits() > 0.5, np.ones((2, 2)))).float()  # 16 px
    shapes = nn.functional.pad(shapes, (8, 8, 8, 8))[:, ::2, ::2]
    any_sign = torch.rand(500, generator=torch.Generator().manual_seed(SEED)) < 0.5
    own_sign = torch.from_numpy(load_digits().target[:500] % 2 == 0)

    def found(negative: torch.Tensor) -> Symmetries:
        images = torch.where(negative[:, None, None], 1 - shapes, shapes)
        return symmetries((255 * images[:, None]).byte())

    assert found(any_sign).polarity == "vary"
    assert "--polarity keep" in found(any_sign).in_words()
    assert found(own_sign).polarity == "keep"
    assert found(torch.zeros(500, dtype=torch.bool)).polarity == "keep"
    assert Symmetries(600).polarity == "keep"


def test_few_or_equal_images_are_not_asked() -> None:
    assert symmetries(torch.zeros(10, 3, 16, 16, dtype=torch.uint8)) == Symmetries(10)
    assert symmetries(torch.zeros(100, 3, 16, 16, dtype=torch.uint8)) == Symmetries(100)
    assert "too few" in Symmetries(10).in_words()


def test_the_reason_is_said_with_the_flag_that_overrides_it() -> None:
    upright = Symmetries(600, 0.95, 1.02)
    assert "not mirrored" in upright.in_words()
    assert "--mirror yes" in upright.in_words()
    assert "--colours keep" in upright.in_words()
    assert "--mirror no" in Symmetries(600, 0.5, 0.4).in_words()
    assert "--recipe small" in Symmetries(600, 0.5, 0.4, 0.6).in_words()
