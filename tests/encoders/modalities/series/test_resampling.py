"""Windows that move along a series, against NumPy's interpolation and plain averages."""

import numpy as np
import pytest
import torch

from isojepa.encoders.modalities.series.resampling import resample, whole


def one(x: np.ndarray, start: float, width: float, steps: int, blur: float = 1.0) -> np.ndarray:
    numbers = (torch.tensor([[float(a)]], dtype=torch.float64) for a in (start, width, blur))
    return resample(torch.from_numpy(x)[None], *numbers, steps)[0][0, 0].numpy()


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 37))


def test_as_many_steps_as_there_are_change_nothing(x: np.ndarray) -> None:
    np.testing.assert_allclose(one(x, 0, 37, 37), x, atol=1e-12)


def test_more_steps_interpolate_linearly(x: np.ndarray) -> None:
    places = np.linspace(0, 36, 100)
    expected = [np.interp(places, np.arange(37), row) for row in x]
    np.testing.assert_allclose(one(x, 0, 37, 100), expected, atol=1e-12)
    places = np.linspace(4.5, 4.5 + 9, 64)
    expected = [np.interp(places, np.arange(37), row) for row in x]
    np.testing.assert_allclose(one(x, 4.5, 10, 64), expected, atol=1e-12)


def test_fewer_steps_average(x: np.ndarray) -> None:
    np.testing.assert_allclose(one(x[:, :36], 0, 36, 9), x[:, :36].reshape(2, 9, 4).mean(-1))


def test_no_frequency_aliases() -> None:
    """Of a wave faster than the steps nothing is left, where points would show a slow one."""
    t = np.arange(400)
    wave = np.sin(2 * np.pi * t * 0.27)[None]
    assert np.abs(one(wave, 0, 400, 40)).max() < 0.2
    assert np.abs(wave[0, ::10]).max() > 0.9


def test_a_blur_is_a_wider_window(x: np.ndarray) -> None:
    got = one(x, 0, 37, 37, blur=3)
    windows = np.lib.stride_tricks.sliding_window_view(x, 3, axis=1).mean(-1)
    centres = np.linspace(0, 34, 37)
    # each window of three begins between two time steps: linear between the two means
    expected = [np.interp(centres, np.arange(35), row) for row in windows]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_only_known_values_count(x: np.ndarray) -> None:
    gaps = x.copy()
    gaps[0, [3, 4, 20]] = np.nan
    gaps[1, 10:26] = np.nan
    numbers = (torch.tensor([[a]], dtype=torch.float64) for a in (0.0, 37.0, 1.0))
    made, observed = resample(torch.from_numpy(gaps)[None], *numbers, 37)
    known = np.isfinite(gaps)
    np.testing.assert_allclose(made[0, 0].numpy()[known], gaps[known], atol=1e-12)
    np.testing.assert_array_equal(observed[0, 0].numpy() > 0.5, known)
    assert (made[0, 0].numpy()[~known] == 0).all()


def test_what_follows_a_series_in_its_batch_changes_nothing(x: np.ndarray) -> None:
    longer = np.concatenate([x, np.full((2, 50), np.nan)], 1)
    lengths = torch.tensor([37])
    mean, std = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 3.0])
    first, _ = whole(torch.from_numpy(x)[None], lengths, 24, mean, std)
    second, known = whole(torch.from_numpy(longer)[None], lengths, 24, mean, std)
    assert torch.equal(first, second)
    assert known.all()
