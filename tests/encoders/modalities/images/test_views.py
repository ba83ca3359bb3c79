"""Views against torchvision, and as functions of (seed, step, position)."""

import math
from dataclasses import fields, replace

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from isojepa.encoders.modalities.images.colour import LUMA
from isojepa.encoders.modalities.images.parameters import (
    ViewParameters,
    centre_parameters,
    draw_parameters,
)
from isojepa.encoders.modalities.images.recipes import RECIPES, ViewRecipe, glyph, none, photo
from isojepa.encoders.modalities.images.rendering import render_views
from isojepa.encoders.modalities.images.views import make_views


def images(n: int = 3, channels: int = 3, side: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 6, 6, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().byte()


def still(n: int = 3, **changes: float) -> ViewParameters:
    """Parameters of one whole-image view, with the given fields set."""
    base = centre_parameters(torch.ones(n))
    return base._replace(**{k: torch.full((1, n), float(v)) for k, v in changes.items()})


@pytest.mark.parametrize("size", [13, 40, 64])
def test_resizing_equals_torchvision(size: int) -> None:
    x = images()
    expected = tv.resize(x.float() / 255, [size, size], antialias=True)
    torch.testing.assert_close(render_views(x, still(), size)[0], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("size", [8, 20, 30])
def test_cropping_equals_torchvision_inside(size: int) -> None:
    x = images()
    p = still(left=10 / 40, top=5 / 40, width=20 / 40, height=20 / 40)
    expected = tv.resized_crop(x.float() / 255, 5, 10, 20, 20, [size, size], antialias=True)
    margin = 2  # torchvision cuts first, so its filter cannot see beyond the crop's edge
    inner = (slice(None), slice(None), slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(
        render_views(x, p, size)[0][inner], expected[inner], atol=2e-5, rtol=0
    )


def test_flip() -> None:
    x = images()
    torch.testing.assert_close(
        render_views(x, still(flip=1), 40)[0], render_views(x, still(), 40)[0].flip(-1)
    )


def test_blur_equals_torchvision() -> None:
    x = images()
    expected = tv.gaussian_blur(x.float() / 255, [13, 13], [2.0, 2.0])
    actual = render_views(x, still(sigma=2.0 / 40), 40)[0]
    inner = (..., slice(7, -7), slice(7, -7))
    torch.testing.assert_close(actual[inner], expected[inner], atol=2e-3, rtol=0)


def test_rotation_by_a_quarter_turn() -> None:
    x = images()
    turned = render_views(x, still(angle=math.pi / 2), 40)[0]
    expected = torch.rot90(x.float() / 255, 1, (-2, -1))
    assert min((turned - r).abs().max() for r in (expected, expected.rot90(2, (-2, -1)))) < 1e-3


@pytest.mark.parametrize(
    ("name", "adjust"),
    [
        ("brightness", tv.adjust_brightness),
        ("contrast", tv.adjust_contrast),
        ("saturation", tv.adjust_saturation),
    ],
)
def test_colour_equals_torchvision(name: str, adjust: object) -> None:
    x = images()
    plain = x.float() / 255
    for factor in (0.6, 0.9):
        expected = adjust(plain, factor)
        actual = render_views(x, still(**{name: factor}), 40)[0]
        torch.testing.assert_close(actual, expected, atol=3e-4, rtol=0)


def test_colour_changes_commute_as_documented() -> None:
    x = images()
    both = render_views(x, still(brightness=0.8, contrast=0.7, saturation=0.5), 40)[0]
    for order in ("bcs", "scb", "csb"):
        expected = x.float() / 255
        for letter in order:
            function, factor = {
                "b": (tv.adjust_brightness, 0.8),
                "c": (tv.adjust_contrast, 0.7),
                "s": (tv.adjust_saturation, 0.5),
            }[letter]
            expected = function(expected, factor)
        torch.testing.assert_close(both, expected, atol=1e-3, rtol=0)


def test_hue_keeps_luma_and_comes_back_after_a_circle() -> None:
    x = images()
    luma = torch.tensor(LUMA)
    muted = (x.float() * 0.3 + 90).byte()  # far from the limits, where nothing is clipped
    turned = render_views(muted, still(hue=1.0), 40)[0]
    plain = render_views(muted, still(), 40)[0]
    expected = torch.einsum("nchw,c->nhw", plain, luma)
    torch.testing.assert_close(
        torch.einsum("nchw,c->nhw", turned, luma), expected, atol=1e-5, rtol=0
    )
    assert (turned - plain).abs().max() > 0.05
    circle = render_views(muted, still(hue=2 * math.pi), 40)[0]
    torch.testing.assert_close(circle, plain, atol=1e-5, rtol=0)
    # A third of a circle turns red towards green, as in HSV.
    red = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    red[:, 0] = 120
    assert render_views(red, still(1, hue=2 * math.pi / 3), 4)[0, 0, :, 0, 0].argmax() == 1


def test_grey_and_solarise() -> None:
    x = images()
    grey = render_views(x, still(saturation=0), 40)[0]
    torch.testing.assert_close(grey, tv.rgb_to_grayscale(x.float() / 255, 3), atol=3e-4, rtol=0)
    solarised = render_views(x, still(solarise=1), 40)[0]
    torch.testing.assert_close(solarised, tv.solarize(x.float() / 255, 0.5), atol=2e-5, rtol=0)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_any_number_of_channels(channels: int) -> None:
    recipe = photo(24)
    x = images(4, channels)
    p = draw_parameters(recipe, torch.ones(4), seed=0, step=0, first=0, total=4)
    made = make_views(x, p, recipe, [0.5] * channels, [0.2] * channels)
    assert made.large.shape == (2, 4, channels, 24, 24)
    assert made.small.shape == (6, 4, channels, recipe.local_size, recipe.local_size)


@pytest.mark.parametrize("name", RECIPES)
def test_parameters_depend_on_seed_step_and_position_only(name: str) -> None:
    recipe = RECIPES[name](32)
    aspects = torch.linspace(0.5, 2, 12)
    whole = draw_parameters(recipe, aspects, seed=1, step=7, first=0, total=12)
    shares = [(0, 5), (5, 12)]
    parts = [
        draw_parameters(recipe, aspects[a:b], seed=1, step=7, first=a, total=12) for a, b in shares
    ]
    for i, field in enumerate(whole):
        assert torch.equal(field, torch.cat([part[i] for part in parts], 1))
    if name != "none":
        other = draw_parameters(recipe, aspects, seed=1, step=8, first=0, total=12)
        assert not torch.equal(whole.left, other.left)


def test_crops_have_the_recipes_area_and_shape() -> None:
    recipe = photo(32)
    aspects = torch.full((4000,), 1.5)
    p = draw_parameters(recipe, aspects, seed=0, step=0, first=0, total=4000)
    area, shape = p.width * p.height, p.width / p.height * 1.5
    for which, scale in ((slice(0, 2), (0.3, 1.0)), (slice(2, 8), (0.05, 0.3))):
        assert area[which].min() >= scale[0] - 1e-4
        assert area[which].max() <= scale[1] + 1e-4
        assert shape[which].min() >= 3 / 4 - 1e-3
        assert shape[which].max() <= 4 / 3 + 1e-3
    assert (p.left + p.width).max() <= 1 + 1e-5
    assert (p.top + p.height).max() <= 1 + 1e-5
    assert p.flip.mean().item() == pytest.approx(0.5, abs=0.02)
    # Local crops, which always fit, are uniform in area.
    assert area[2:].mean().item() == pytest.approx(0.175, abs=0.002)


def test_elongated_images_get_the_largest_allowed_crop() -> None:
    recipe = replace(photo(32), global_scale=(0.9, 1.0))
    p = draw_parameters(recipe, torch.tensor([20.0]), seed=0, step=0, first=0, total=1)
    assert p.height[:2].tolist() == [[1.0], [1.0]]
    torch.testing.assert_close(p.width[:2], torch.full((2, 1), 4 / 3 / 20))


def test_recipes_differ_where_they_should() -> None:
    letters = glyph(28)
    assert (letters.flip, letters.hue, letters.saturation, letters.grey) == (0, 0, 0, 0)
    assert photo(224).local_size == 96
    everything = draw_parameters(none(16), torch.ones(5), seed=0, step=0, first=0, total=5)
    x = images(5)
    plain = render_views(x, centre_parameters(torch.ones(5)), 16)
    torch.testing.assert_close(render_views(x, everything, 16), plain.expand(2, -1, -1, -1, -1))
    assert {f.name for f in fields(ViewRecipe)} >= {"n_global", "n_local"}
