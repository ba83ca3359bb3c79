"""Compiled views against the matrices that define them, and against torchvision."""

from dataclasses import replace

import pytest
import torch
import torchvision.transforms.v2.functional as tv

from isojepa.encoders.modalities.images import normalised
from isojepa.encoders.modalities.images.normalised import (
    centre_view,
    compiled_rendering,
    make_views,
    normalise,
    normalised_views,
)
from isojepa.encoders.modalities.images.parameters import draw_parameters
from isojepa.encoders.modalities.images.recipes import RECIPES, glyph, photo
from isojepa.encoders.modalities.images.rendering import render_views
from isojepa.kernels import threads as torch_threads
from tests.encoders.modalities.images.test_views import images, still

compiled = pytest.importorskip(
    "isojepa.encoders.modalities.images.compiled", reason="no compiler when installed"
)
EVERYTHING = replace(
    photo(20), rotate=40.0, shear=20.0, blur=0.7, solarise=0.4, grey=0.3, flip=0.5, jitter=0.9
)


@pytest.fixture(autouse=True)
def one_thread_count():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize(("side", "size"), [(40, 20), (40, 40), (12, 31), (97, 8), (1, 4), (40, 1)])
@pytest.mark.parametrize("recipe", [*RECIPES, "everything"])
def test_equals_the_matrices(recipe: str, side: int, size: int, channels: int) -> None:
    drawn = EVERYTHING if recipe == "everything" else RECIPES[recipe](size)
    x = images(7, channels, side)
    aspects = torch.linspace(0.4, 2.5, 7)
    parameters = draw_parameters(drawn, aspects, seed=1, step=2, first=0, total=7)
    mean, std = [0.3 + 0.1 * c for c in range(channels)], [0.2 + 0.05 * c for c in range(channels)]
    expected = normalise(render_views(x, parameters, size), mean, std)
    found = compiled.render_normalised(x, parameters, size, mean, std)
    # Solarising jumps at one half: a pixel within rounding of it may fall on the other side.
    off = (found - expected).abs() > 1e-4
    assert off.float().mean() < 1e-3
    assert not off.any() or drawn.solarise


def test_resizing_equals_torchvision() -> None:
    x = images()
    expected = tv.resize(x.float() / 255, [13, 13], antialias=True)
    found = compiled.render_normalised(x, still(), 13, [0.0] * 3, [1.0] * 3)[0]
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("pool", ["torch", "own"])
def test_bit_for_bit_the_same_on_any_number_of_threads(
    pool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pool == "own":
        monkeypatch.setattr(torch_threads, "_parallel", None)
    x, aspects = images(9), torch.ones(9)
    parameters = draw_parameters(EVERYTHING, aspects, seed=0, step=0, first=0, total=9)
    made = []
    for count in (1, 2, 3, 8):
        torch.set_num_threads(count)
        made.append(compiled.render_normalised(x, parameters, 24, [0.5] * 3, [0.25] * 3))
    assert all(torch.equal(m, made[0]) for m in made[1:])


def test_a_sample_does_not_depend_on_its_batch() -> None:
    x, aspects = images(6), torch.ones(6)
    parameters = draw_parameters(EVERYTHING, aspects, seed=0, step=0, first=0, total=6)
    whole = compiled.render_normalised(x, parameters, 16, [0.5] * 3, [0.25] * 3)
    few = type(parameters)(*(p[:, 2:5] for p in parameters))
    part = compiled.render_normalised(x[2:5], few, 16, [0.5] * 3, [0.25] * 3)
    assert torch.equal(whole[:, 2:5], part)


def test_strided_images_and_none_at_all() -> None:
    wide = images(4, 3, 40).repeat_interleave(2, -1)[..., ::2]
    assert not wide.is_contiguous()
    found = compiled.render_normalised(wide, still(4), 40, [0.0] * 3, [1.0] * 3)[0]
    torch.testing.assert_close(found, wide.float() / 255, atol=1e-5, rtol=0)
    assert compiled.render_normalised(wide[:0], still(0), 8, [0.0] * 3, [1.0] * 3).numel() == 0


def test_without_a_compiler_views_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, aspects = images(5), torch.ones(5)
    assert compiled_rendering() is compiled
    recipe = glyph(16)
    parameters = draw_parameters(recipe, aspects, seed=0, step=0, first=0, total=5)
    fast = (
        make_views(x, parameters, recipe, [0.5] * 3, [0.25] * 3),
        centre_view(x, aspects, 16, [0.5] * 3, [0.25] * 3),
    )
    monkeypatch.setattr(normalised, "compiled_rendering", lambda: None)
    plain = (
        make_views(x, parameters, recipe, [0.5] * 3, [0.25] * 3),
        centre_view(x, aspects, 16, [0.5] * 3, [0.25] * 3),
    )
    torch.testing.assert_close(fast[0].large, plain[0].large, atol=1e-4, rtol=0)
    torch.testing.assert_close(fast[1], plain[1], atol=1e-4, rtol=0)


def test_on_the_meta_device_nothing_is_compiled() -> None:
    x = images().to("meta")
    made = normalised_views(x, still(), 8, [0.0] * 3, [1.0] * 3, normalised.PLAIN)
    assert made.shape == (1, 3, 3, 8, 8)
