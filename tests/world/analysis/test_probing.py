"""Probes: scores against references, angles, and what they find in a model trained on dots."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import mean_squared_error, r2_score

from isojepa.errors import UserError
from isojepa.runs.typed import read_result
from isojepa.world.analysis import latent_distances as latent
from isojepa.world.analysis.latent_distances import LatentDistances, running_median
from isojepa.world.analysis.probe_results import ProbeResult
from isojepa.world.analysis.probes import PROBES, correlation, fit_probe, score_probe
from isojepa.world.analysis.probing import ProbeConfig, probe
from isojepa.world.analysis.quantities import as_regression, column_slices, read_targets
from isojepa.world.analysis.study import embed_rows, locate, open_study
from isojepa.world.environments.environment import Quantity
from isojepa.world.environments.registry import ENVIRONMENTS
from isojepa.world.episodes.trajectories import episode_rows, open_trajectories
from tests.world.episode_files import write_dots
from tests.world.studied import studied_run

X, TURN = Quantity("x", "state", 0), Quantity("turn", "state", 1, angle=True)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProbeResult, Path]:
    out = tmp_path_factory.mktemp("probes") / "probes.json"
    return probe(ProbeConfig(run=studied_run(), out=out, frames=400)), out


def test_scores_are_those_of_the_references():
    rng = np.random.default_rng(0)
    train, truth = rng.normal(3, 2, (200, 1)), rng.normal(3, 2, (80, 1))
    guess = truth + rng.normal(0, 0.5, truth.shape)
    (found,) = score_probe((X,), train, truth, guess, np.repeat(np.arange(8), 10))
    assert found.r == pytest.approx(pearsonr(truth[:, 0], guess[:, 0]).statistic)
    assert found.r2 == pytest.approx(r2_score(truth, guess))
    assert found.mse == pytest.approx(mean_squared_error(truth, guess))
    assert found.mse_normalised == pytest.approx(found.mse / train.var())
    assert found.interval[0] < found.r < found.interval[1]


def test_an_angle_is_read_by_sine_and_cosine():
    rng = np.random.default_rng(0)
    truth = np.stack([rng.normal(size=60), rng.uniform(-np.pi, np.pi, 60)], 1)
    assert column_slices((X, TURN)) == [slice(0, 1), slice(1, 3)]
    guess = as_regression((X, TURN), truth + np.array([0.0, 2 * np.pi]))
    _, perfect = score_probe((X, TURN), truth, truth, guess, np.arange(60))
    assert perfect.r == pytest.approx(1)
    assert perfect.mse == pytest.approx(0, abs=1e-20)
    turned = as_regression((X, TURN), truth + np.array([0.0, 0.1]))
    _, off = score_probe((X, TURN), truth, truth, turned, np.arange(60))
    assert off.mse == pytest.approx(0.01)  # also where the turn crosses pi


def test_the_interval_draws_episodes_not_frames():
    rng = np.random.default_rng(0)
    t, noise = rng.normal(size=(12, 1)), rng.normal(size=(12, 1))
    frames, group = np.repeat(t, 50, 0), np.repeat(np.arange(12), 50)
    guess = np.repeat(t + noise, 50, 0)
    _, by_episode = correlation(frames, guess, group)
    _, by_frame = correlation(frames, guess, np.arange(600))
    assert by_episode[1] - by_episode[0] > 3 * (by_frame[1] - by_frame[0])
    assert correlation(frames, guess, group % 2)[1] is None


@pytest.mark.parametrize("kind", PROBES)
def test_probes(kind: str):
    rng = np.random.default_rng(0)
    x, x_new = (rng.normal(size=(n, 6)).astype(np.float32) for n in (600, 200))
    x[:, 5] = x_new[:, 5] = 1.0  # a dimension that never changes
    weights = rng.normal(size=(6, 2))
    y, y_new = ((v @ weights).astype(np.float64) * [1, 100] + 5 for v in (x, x_new))
    guess = fit_probe(kind, x, y, x_new, seed=0)
    assert (((guess - y_new) ** 2).mean(0) < 0.02 * y.var(0)).all()
    if kind == "mlp":
        y, y_new = ((v[:, :1] ** 2).astype(np.float64) for v in (x, x_new))
        curved = fit_probe(kind, x, y, x_new, seed=0)
        straight = fit_probe("linear", x, y, x_new, seed=0)
        assert ((curved - y_new) ** 2).mean() < 0.3 * ((straight - y_new) ** 2).mean()


def test_what_is_written(probed: tuple[ProbeResult, Path]):
    result, out = probed
    assert read_result(ProbeResult, out) == result
    assert result.unseen is True
    assert {one.quantity.name for one in result.quantities} == {
        "proprio 0",
        "proprio 1",
        "state 0",
        "state 1",
    }
    for one in result.quantities:
        assert list(one.scores.present) == ["model", "untrained", "pixels"]
        linear = one.scores.model.linear
        assert linear.r > 0.9
        low, high = linear.interval
        assert low <= linear.r <= high
    with np.load(out.with_suffix(".npz")) as arrays:
        n = result.frames.held_out
        assert arrays["z"].shape == (n, 16)
        assert arrays["truth"].shape == arrays["linear"].shape == arrays["mlp"].shape == (n, 4)
        held_out = set(open_study(studied_run()).held_out.tolist())
        assert set(arrays["episode"].tolist()) <= held_out
    assert result.distances.steps.spearman > 0


def test_the_split_is_that_of_training():
    study = open_study(studied_run())
    assert len(study.held_out) == len(study.train) == 20
    assert not set(study.held_out) & set(study.train)
    rows = episode_rows(study.trajectories, study.held_out[:2])
    episode, step = locate(study.trajectories, rows)
    first = int(study.held_out[0])
    assert episode[0] == first
    assert step.tolist()[: study.trajectories.lengths[first]] == list(
        range(study.trajectories.lengths[first])
    )
    z = embed_rows(study.model, study.trajectories, rows)
    again = embed_rows(study.model, study.trajectories, rows[::-1])
    np.testing.assert_allclose(z, again[::-1], atol=1e-5)


def test_quantities_of_a_known_environment(monkeypatch: pytest.MonkeyPatch):
    trajectories = open_study(studied_run()).trajectories
    assert len(read_targets(trajectories).quantities) == 4
    monkeypatch.setattr(trajectories, "env_id", "swm/TwoRoom-v1")
    found = read_targets(trajectories)
    assert [q.name for q in found.quantities] == ["x", "y"]
    np.testing.assert_array_equal(found.values, trajectories.column("proprio"))


def test_a_data_set_with_nothing_to_read(monkeypatch: pytest.MonkeyPatch):
    study = open_study(studied_run())
    monkeypatch.setattr(study.trajectories, "_columns", {"reward": np.ones(10)})
    with pytest.raises(UserError, match="nothing to probe for"):
        read_targets(study.trajectories)


def test_another_data_set_and_too_few_frames(tmp_path: Path):
    other = write_dots(tmp_path / "other.h5", episodes=6, seed=1).path
    study = open_study(studied_run(), other, cache=tmp_path)
    assert study.unseen
    assert len(study.held_out) == 1
    with pytest.raises(UserError, match="--frames"):
        ProbeConfig(run=studied_run(), frames=3)
    single = write_dots(tmp_path / "single.h5", episodes=1).path
    with pytest.raises(UserError, match="single episode"):
        open_study(studied_run(), single, cache=tmp_path)


def test_paths_lead_around_walls(monkeypatch: pytest.MonkeyPatch):
    """States on three sides of a square: the fourth is a gap that no step crosses."""
    study = open_study(studied_run())
    side = np.linspace(0, 1, 30)
    nought, one = np.zeros(30), np.ones(30)
    walk = np.concatenate(
        [np.stack([nought, side], 1), np.stack([side, one], 1), np.stack([one, side[::-1]], 1)]
    )
    known = replace(
        ENVIRONMENTS["swm/TwoRoom-v1"],
        distance=lambda a, b: np.linalg.norm(a["proprio"] - b["proprio"], axis=-1),
    )
    total = int(study.trajectories.lengths.sum())
    places = np.resize(walk, (total, 2))
    starts = np.cumsum(study.trajectories.lengths) - study.trajectories.lengths
    for start, length in zip(starts, study.trajectories.lengths):
        places[start : start + length] = walk[(np.arange(length) + start) % 90]
    monkeypatch.setitem(study.trajectories._columns, "proprio", places)
    study = study._replace(known=known)
    monkeypatch.setattr(latent, "REACH", 1.5)
    rows = episode_rows(study.trajectories, study.held_out)
    ends = np.abs(places[rows]).sum(1)
    source = int(np.argmin(ends))  # (0, 0)
    target = int(np.argmin(np.abs(places[rows] - [1, 0]).sum(1)))
    paths = latent._paths(study, rows[[source]], rows, seed=0)
    assert paths[0, target] == pytest.approx(3, abs=0.1)
    assert paths[0, source] == 0


def test_where_a_latent_distance_levels_off():
    x = np.linspace(0, 10, 400)
    z = np.minimum(x, 4.0)
    pairs = LatentDistances(z, x, np.full(400, np.nan), x)
    found = pairs.correlations()
    assert found.path is None
    assert found.steps == found.state
    assert found.state.levels_off == pytest.approx(4, abs=0.6)
    assert found.state.beyond == pytest.approx(0.6, abs=0.06)
    middle, median = running_median(x, z)
    assert (np.diff(middle) > 0).all()
    assert median[-1] == 4
    assert open_trajectories(studied_run().parent / "dots.h5", frame_size=32).action_dim == 2
