"""Surprise: its statistics against references, and a model that knows how dots move."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import wilcoxon
from sklearn.metrics import roc_auc_score

from isojepa.errors import UserError
from isojepa.runs.typed import read_result
from isojepa.world.analysis.events import (
    Window,
    choose_clips,
    choose_donors,
    clip_reader,
    recoloured,
    split_by_episode,
    teleported,
)
from isojepa.world.analysis.study import open_study
from isojepa.world.analysis.surprise import SurpriseConfig, measure_surprise, surprise
from isojepa.world.analysis.surprise_results import (
    SurpriseResult,
    p_values,
    paired_p_value,
    roc_curve,
)
from tests.world.episode_files import write_dots
from tests.world.studied import studied_run


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[SurpriseResult, Path]:
    out = tmp_path_factory.mktemp("surprise") / "surprise.json"
    return measure_surprise(SurpriseConfig(run=studied_run(), out=out, clips=80)), out


def test_p_values_and_auc_against_references():
    rng = np.random.default_rng(0)
    null, values = rng.exponential(size=200), rng.exponential(2.0, 50)
    values[0] = null[3]  # a tie
    expected = [(1 + (null >= v).sum()) / 201 for v in values]
    np.testing.assert_allclose(p_values(null, values), expected)
    area, roc = roc_curve(null, values)
    truth = np.r_[np.zeros(200), np.ones(50)]
    assert area == pytest.approx(roc_auc_score(truth, np.r_[null, values]))
    assert roc[:, 0].tolist() == [0, 0]
    assert roc[:, -1].tolist() == [1, 1]
    assert (np.diff(roc) >= 0).all()
    assert roc_curve(null, null)[0] == pytest.approx(0.5)


def test_p_values_are_calibrated():
    rng = np.random.default_rng(0)
    p = p_values(rng.normal(size=2000), rng.normal(size=2000))
    for level in (0.01, 0.05, 0.2):
        assert (p < level).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 2000))


def test_the_paired_test_is_between_episodes():
    rng = np.random.default_rng(0)
    difference, episode = rng.normal(0.3, 1, 60), np.repeat(np.arange(12), 5)
    means = difference.reshape(12, 5).mean(1)
    assert paired_p_value(difference, episode) == wilcoxon(means, alternative="greater").pvalue
    assert paired_p_value(np.zeros(6), np.arange(6)) == 1.0


def test_what_a_perturbation_changes_and_what_not():
    study = open_study(studied_run())
    window, positions = choose_clips(study, most=40, seed=0)
    read = clip_reader(study, window)
    clips, donors = read(positions[:4]), read(positions[4:8])
    event = window.event
    moved, coloured = teleported(clips, donors, event), recoloured(clips, event)
    for changed in (moved, coloured):
        assert torch.equal(changed.frames[:, :event], clips.frames[:, :event])
        assert torch.equal(changed.actions[:, :event], clips.actions[:, :event])
    assert torch.equal(moved.frames[:, event:], donors.frames[:, event:])
    assert torch.equal(moved.actions[:, event:], donors.actions[:, event:])
    assert torch.equal(coloured.actions, clips.actions)
    assert torch.equal(coloured.frames[:, event:, 1], clips.frames[:, event:, 0])
    errors, after = surprise(study.model, clips), surprise(study.model, coloured)
    assert np.isnan(errors[:, 0]).all()
    np.testing.assert_allclose(errors[:, 1:event], after[:, 1:event], rtol=1e-4)
    assert (errors[:, event] != after[:, event]).all()


def test_surprise_is_the_error_of_the_prediction():
    study = open_study(studied_run())
    window, positions = choose_clips(study, most=40, seed=0)
    clips = clip_reader(study, window)(positions[:3])
    with torch.no_grad():
        z = study.model.encode(clips.frames)
        predicted = study.model.predict(z[:, :-1], clips.actions[:, :-1])
    expected = (predicted - z[:, 1:]).square().mean(-1).numpy()
    np.testing.assert_allclose(surprise(study.model, clips)[:, 1:], expected, rtol=1e-4)


def test_calibration_and_test_share_no_episode():
    study = open_study(studied_run())
    window, positions = choose_clips(study, most=80, seed=0)
    usual, tested = split_by_episode(positions)
    assert not set(usual[:, 0]) & set(tested[:, 0])
    assert set(positions[:, 0]) <= set(study.held_out)
    span = (window.frames - 1) * study.model.frame_skip
    assert (positions[:, 1] + span < study.trajectories.lengths[positions[:, 0]]).all()
    donors, jump = choose_donors(study, positions, tested, window, seed=0)
    assert len(donors) == len(tested) == len(jump)
    assert (jump > 0).all()


def test_teleports_are_noticed_and_nothing_is_not(measured: tuple[SurpriseResult, Path]):
    result, out = measured
    assert read_result(SurpriseResult, out) == result
    teleport, colour, unchanged = (
        result.conditions[name] for name in ("teleport", "colour", "unchanged")
    )
    assert teleport.p_before < 0.01
    assert teleport.p_unchanged < 0.01
    assert teleport.auc > 0.95
    assert colour.auc > 0.6
    assert unchanged.p_before > 0.01
    assert 0.35 < unchanged.auc < 0.65
    assert unchanged.p_unchanged is None
    assert unchanged.trace.median[0] is None
    with np.load(out.with_suffix(".npz")) as arrays:
        frames = arrays["frames_teleport"]
        assert frames.shape[1:] == (result.frames, 32, 32, 3)
        event = result.event
        assert (frames[:, :event] == arrays["frames_unchanged"][:, :event]).all()


def test_episodes_too_short_or_too_few(tmp_path: Path):
    short = write_dots(tmp_path / "short.h5", episodes=30, steps=5).path
    study = open_study(studied_run(), short, cache=tmp_path)
    study.trajectories.lengths[:] = np.minimum(study.trajectories.lengths, 6)
    with pytest.raises(UserError, match="at least 4 are needed"):
        choose_clips(study, most=20, seed=0)
    few = write_dots(tmp_path / "few.h5", episodes=10, seed=1).path
    with pytest.raises(UserError, match="2 of 2 held-out episodes"):
        measure_surprise(
            SurpriseConfig(run=studied_run(), data=few, cache=tmp_path, out=tmp_path / "s.json")
        )
    with pytest.raises(UserError, match="--clips"):
        SurpriseConfig(run=studied_run(), clips=2)
    assert Window(8, 3, 1).event == 3
