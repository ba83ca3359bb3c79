"""Windows of episodes: where they fit, what they hold, and batches of them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.episodes.action_scale import ActionScale
from isojepa.world.episodes.clips import clip_batches, clip_index, fit_action_scale, split_episodes
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from tests.world.episode_files import Dots

h5py = pytest.importorskip("h5py")


def opened(made: Dots, cache: Path, frame_size: int | None = None) -> Trajectories:
    return open_trajectories(made.path, frame_size=frame_size, cache=cache)


def test_clips_hold_the_frames_and_the_actions_between_them(made: Dots, cache: Path) -> None:
    trajectories = opened(made, cache)
    scale = ActionScale(torch.tensor([0.5, -0.5]), torch.tensor([2.0, 4.0]))
    clips = trajectories.clips(np.array([[3, 0], [1, 2]]), frames=4, frame_skip=3, scale=scale)
    assert clips.frames.shape == (2, 4, 3, 16, 16)
    assert clips.actions.shape == (2, 4, 6)
    for b, (episode, first) in enumerate(clips.position.tolist()):
        for t in range(4):
            step = first + 3 * t
            frame = np.moveaxis(made.frames[episode][step], -1, 0)
            assert (clips.frames[b, t].numpy() == frame).all()
            block = made.actions[episode][step : step + 3]
            if step + 3 < len(made.frames[episode]):
                expected = ((block - [0.5, -0.5]) / [2.0, 4.0]).reshape(-1)
                np.testing.assert_allclose(clips.actions[b, t], expected, rtol=1e-6)
                np.testing.assert_allclose(
                    scale.restore(clips.actions[b, t]), block.reshape(-1), atol=1e-6
                )
            else:
                assert (clips.actions[b, t] == 0).all()
    assert (clips.actions[1, -1] == 0).all()  # 13 frames: none follows the block at step 11


def test_the_scale_is_of_the_given_episodes_without_nan(made: Dots, cache: Path) -> None:
    scale = fit_action_scale(opened(made, cache), np.array([0, 2]))
    actions = np.concatenate([made.actions[0][:-1], made.actions[2][:-1]])
    np.testing.assert_allclose(scale.mean, actions.mean(0), atol=1e-6)
    np.testing.assert_allclose(scale.std, actions.std(0), atol=1e-6)
    block = np.tile(actions[:1], 4)
    np.testing.assert_allclose(scale.normalise(scale.restore(block)), block, atol=1e-6)


def test_episodes_are_split_whole_and_repeatably() -> None:
    train, held = split_episodes(20, held_out=0.2, seed=0)
    assert sorted([*train, *held]) == list(range(20))
    assert len(held) == 4
    again = split_episodes(20, held_out=0.2, seed=0)
    assert (train == again[0]).all()
    assert (held != split_episodes(20, held_out=0.2, seed=1)[1]).any()
    assert len(split_episodes(3, held_out=0.1, seed=0)[1]) == 1
    assert len(split_episodes(3, held_out=0.0, seed=0)[1]) == 0


def test_all_windows_that_fit(made: Dots, cache: Path) -> None:
    trajectories = opened(made, cache)
    index = clip_index(trajectories, np.array([0, 4]), frames=3, frame_skip=5)
    expected = [(e, s) for e in (0, 4) for s in range(len(made.frames[e])) if s + 10 < 12 + e]
    assert [tuple(row) for row in index.tolist()] == expected


def test_batches_visit_every_window_once_an_epoch_and_resume(made: Dots, cache: Path) -> None:
    trajectories = opened(made, cache)
    index = clip_index(trajectories, np.arange(5), frames=2, frame_skip=2)
    options = {"frames": 2, "frame_skip": 2, "scale": None, "batch": 5, "seed": 3}
    per_epoch = len(index) // 5
    stream = clip_batches(trajectories, index, **options)
    batches = [next(stream) for _ in range(2 * per_epoch)]
    for epoch in (batches[:per_epoch], batches[per_epoch:]):
        seen = torch.cat([clips.position for clips in epoch]).tolist()
        assert len({tuple(p) for p in seen}) == 5 * per_epoch
    assert (batches[0].position != batches[per_epoch].position).any()
    later = next(clip_batches(trajectories, index, **options, start=per_epoch + 1))
    for a, b in zip(later, batches[per_epoch + 1]):
        assert torch.equal(a, b)
    halves = [
        next(clip_batches(trajectories, index, **options, rank=rank, world=2)).position
        for rank in (0, 1)
    ]
    assert torch.equal(torch.cat(halves), batches[0].position)


def test_episodes_shorter_than_a_window(made: Dots, cache: Path) -> None:
    trajectories = opened(made, cache)
    with pytest.raises(UserError, match=r"needs 21 steps .*the longest, episode 4, has 16"):
        clip_index(trajectories, np.arange(5), frames=5, frame_skip=5)
    index = clip_index(trajectories, np.arange(5), frames=2, frame_skip=2)
    with pytest.raises(UserError, match="60 windows and a batch of 64"):
        next(
            clip_batches(trajectories, index, frames=2, frame_skip=2, scale=None, batch=64, seed=0)
        )
