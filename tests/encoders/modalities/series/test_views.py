"""What the views of a series share and what they do not."""

from dataclasses import replace

import pytest
import torch

from isojepa.encoders.modalities.modality import Batch
from isojepa.encoders.modalities.series.network import PATCH, SeriesSpec
from isojepa.encoders.modalities.series.samples import Sequences
from isojepa.encoders.modalities.series.views import NAMED, VIEWING, SeriesRecipe

PLAIN = SeriesRecipe(n_global=3, n_local=2, global_steps=32, local_steps=16)
SPEC = SeriesSpec(
    model="conv_nano", length=32, channels=["a", "b", "c"], mean=[0.0, 1.0, 2.0],
    std=[1.0, 2.0, 0.5], missing=True,
)  # fmt: skip
VALUES = torch.randn(6, 3, 32, generator=torch.Generator().manual_seed(0))
BATCH = Batch(Sequences(VALUES, torch.full((6,), 32)), None, 0, 6)


def made(recipe: SeriesRecipe, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The global views' values and what is known of them."""
    found = VIEWING.views(BATCH, step, recipe=recipe, spec=SPEC, seed=0, device=torch.device("cpu"))
    assert found.large.shape == (3, 6, 6, 32)
    assert found.small.shape == (2, 6, 6, 16)
    return found.large.chunk(2, 2)


def expected() -> torch.Tensor:
    return (VALUES - torch.tensor(SPEC.mean)[:, None]) / torch.tensor(SPEC.std)[:, None]


def test_without_augmentation_views_are_the_series() -> None:
    x, known = made(PLAIN)
    torch.testing.assert_close(x, expected().expand_as(x), rtol=1e-4, atol=1e-5)
    assert known.all()


@pytest.mark.parametrize("name", ["blur", "jitter", "scaling", "frequency", "global_scale"])
def test_each_augmentation_changes_every_view_in_its_own_way(name: str) -> None:
    value = {"global_scale": (0.3, 0.6), "blur": 1.0}.get(name, 0.3)
    x, known = made(replace(PLAIN, **{name: value}))
    assert known.all()
    assert (x - expected()).abs().amax((2, 3)).min() > 1e-3
    assert (x[0] - x[1]).abs().amax((1, 2)).min() > 1e-3


def test_scaling_is_one_factor_a_channel() -> None:
    x, _ = made(replace(PLAIN, scaling=0.5))
    factor = x / expected()
    torch.testing.assert_close(factor, factor[..., :1].expand_as(factor), rtol=1e-2, atol=1e-3)
    assert (factor > 0).all()


def test_other_frequencies_leave_the_mean() -> None:
    x, _ = made(replace(PLAIN, frequency=0.5))
    torch.testing.assert_close(x.mean(-1), expected().mean(-1).expand(3, -1, -1), rtol=0, atol=1e-5)


def test_a_dropped_channel_is_unknown_and_one_always_stays() -> None:
    x, known = made(replace(PLAIN, channel_drop=0.99))
    whole = known.amin(-1)
    assert (whole == known.amax(-1)).all()
    assert (whole.sum(-1) >= 1).all()
    assert (whole.sum(-1) == 1).any()
    assert (x[known == 0] == 0).all()


def test_a_time_mask_is_one_stretch_of_all_channels() -> None:
    _, known = made(replace(PLAIN, time_mask=0.6))
    assert (known == known[:, :, :1]).all()
    changes = known[:, :, 0].diff(dim=-1).abs().sum(-1)
    assert changes.max() <= 2
    assert 0 < (1 - known[:, :, 0]).mean() < 0.6


def test_masked_views_lack_half_of_the_patches_and_change_nothing_else() -> None:
    x, known = made(replace(PLAIN, **NAMED["masked"]))
    patches = known[:, :, 0].unflatten(-1, (-1, PATCH))
    assert (patches.amin(-1) == patches.amax(-1)).all()
    assert (patches[..., 0].sum(-1) == 2).all()
    torch.testing.assert_close(x, expected() * known, rtol=1e-4, atol=1e-5)
    assert not torch.equal(known[0], known[1])


def test_steps_differ_and_repeat() -> None:
    recipe = replace(PLAIN, **NAMED["series"])
    assert torch.equal(made(recipe, 4)[0], made(recipe, 4)[0])
    assert not torch.equal(made(recipe, 4)[0], made(recipe, 5)[0])
