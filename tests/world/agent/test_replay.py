"""The replay: what is drawn is what was written, through wraps, resumes and kills at any moment."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.agent.replay import FRAMES, ROWS, Replay, Row, first_rows

SIZE, A = 8, 2
WRITER = """
import sys
from pathlib import Path
from tests.world.agent.test_replay import row, small
replay = small(Path(sys.argv[1]), capacity=300)
while True:
    replay.append(row(replay.length))
    print(replay.length, flush=True)
"""


def small(folder: Path, capacity: int = 50, slack: int = 20) -> Replay:
    return Replay(folder, frame_size=SIZE, a=A, capacity=capacity, slack=slack)


def row(i: int, length: int = 7) -> Row:
    """Row i of episodes of equal length, a function of i."""
    random = np.random.default_rng(i)
    first, last = i % length == 0, i % length == length - 1
    action = np.zeros(A, np.float32) if last else random.normal(size=A).astype(np.float32)
    frame = random.integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    return Row(frame, action, i % 2 == 0, action / 2, float(not first) * i, first, last, False)


def test_what_is_drawn_is_what_was_written(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(30):
        replay.append(row(i))
    clips = replay.clips(np.array([3, 12]), rows=6)
    for b, start in enumerate((3, 12)):
        for t in range(6):
            expected = row(start + t)
            assert np.array_equal(clips.frames[b, t], expected.frame)
            assert np.array_equal(clips.actions[b, t], expected.action)
            assert np.array_equal(clips.advice[b, t], expected.advice)
            assert clips.rewards[b, t] == expected.reward
            assert clips.first[b, t] == expected.first
            assert clips.terminated[b, t] == expected.terminated
            assert clips.planned[b, t] == expected.planned


def test_stacks_reach_back_to_the_episodes_first_frame_and_no_further(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(20):
        replay.append(row(i))
    frames = replay.clips(np.array([7, 9]), rows=3, stack=3).frames  # episodes begin at 0, 7, 14
    expected = [[[7, 7, 7], [7, 7, 8], [7, 8, 9]], [[7, 8, 9], [8, 9, 10], [9, 10, 11]]]
    for b, window in enumerate(expected):
        for t, stack in enumerate(window):
            assert np.array_equal(frames[b, t], np.concatenate([row(i).frame for i in stack], -1))


def test_draws_are_a_function_of_seed_step_and_length_and_uniform(tmp_path: Path) -> None:
    assert np.array_equal(
        first_rows(1, 2, 90, 50, batch=64, rows=6), first_rows(1, 2, 90, 50, batch=64, rows=6)
    )
    other = [first_rows(*key, 50, batch=64, rows=6) for key in ((2, 2, 90), (1, 3, 90), (1, 2, 91))]
    assert not any(np.array_equal(first_rows(1, 2, 90, 50, batch=64, rows=6), x) for x in other)
    many = first_rows(0, 0, 90, 50, batch=45_000, rows=6)
    counts = np.bincount(many - 40, minlength=45)
    assert len(counts) == 45  # rows 40 to 84 begin windows within the last 50 of 90
    assert ((counts - 1000) ** 2 / 1000).sum() < 88  # chi-square, 44 degrees, p = 1e-4
    replay = small(tmp_path)
    for i in range(30):
        replay.append(row(i))
    shares = [slice(0, 3), slice(3, 8)]
    whole = replay.sample(0, 5, batch=8, rows=3, share=slice(0, 8)).frames
    parts = [replay.sample(0, 5, batch=8, rows=3, share=s).frames for s in shares]
    assert np.array_equal(np.concatenate(parts), whole)
    with pytest.raises(ValueError, match="too few"):
        first_rows(0, 0, 5, 50, batch=1, rows=6)


def test_the_ring_is_bounded_and_opens_where_it_was(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(200):
        replay.append(row(i))
    assert len(replay) == 50
    assert (tmp_path / FRAMES).stat().st_size == 70 * SIZE * SIZE * 3
    assert replay.check() == 0
    replay.close()
    again = small(tmp_path)
    assert again.length == 200
    assert np.array_equal(again.clips(np.array([150]), rows=1).frames[0, 0], row(150).frame)
    again.append(row(200))
    assert again.check() == 0


def test_unwritten_rows_take_no_room(tmp_path: Path) -> None:
    replay = Replay(tmp_path, frame_size=64, a=1, capacity=10_000)
    replay.append(row(0)._replace(frame=np.zeros((64, 64, 3), np.uint8), action=np.zeros(1, "f4"),
                                  advice=np.zeros(1, "f4")))  # fmt: skip
    used = sum((tmp_path / name).stat().st_blocks * 512 for name in (FRAMES, ROWS))
    assert used < 200_000


def test_going_back_to_a_checkpoint_finds_what_it_had_seen(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(100):
        replay.append(row(i))
    before = replay.sample(0, 7, batch=16, rows=4, stack=2, share=slice(0, 16))
    for i in range(100, 118):
        replay.append(row(i + 1000))  # what a killed run did after its checkpoint
    replay.close()
    again = small(tmp_path)
    again.forget_after(100)
    after = again.sample(0, 7, batch=16, rows=4, stack=2, share=slice(0, 16))
    assert all(np.array_equal(x, y) for x, y in zip(before, after))
    again.append(row(100))
    assert np.array_equal(again.clips(np.array([100]), rows=1).frames[0, 0], row(100).frame)


def test_a_checkpoint_that_cannot_be_gone_back_to_is_refused(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(200):
        replay.append(row(i))
    with pytest.raises(UserError, match="overwritten"):
        replay.forget_after(120)
    with pytest.raises(UserError, match="200 rows are left of the 201"):
        replay.forget_after(201)
    with pytest.raises(UserError, match="of other sizes"):
        small(tmp_path, capacity=71)


def test_a_row_that_is_damaged_is_told_from_one_that_is_whole(tmp_path: Path) -> None:
    replay = small(tmp_path)
    for i in range(30):
        replay.append(row(i))
    with (tmp_path / FRAMES).open("r+b") as file:
        file.seek(29 * SIZE * SIZE * 3 + 5)
        file.write(bytes([255 - row(29).frame.reshape(-1)[5]]))
    assert replay.check() == 1
    replay.close()
    assert small(tmp_path).length == 29


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay = small(tmp_path)
    replay.append(row(0))

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(UserError, match="No space left on device"):
        replay.append(row(1))
    monkeypatch.undo()
    replay.append(row(1))
    assert replay.check() == 0


def test_a_kill_at_any_moment_loses_nothing_that_was_written(tmp_path: Path) -> None:
    """Killed six times at random moments, and gone on with; every row is what it should be."""
    random = np.random.default_rng(0)
    told = 0
    for _ in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline()
        time.sleep(random.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        told = max([told, *map(int, writer.stdout.read().split("\n")[:-1])])
        writer.stdout.close()
        writer.wait()
        replay = small(tmp_path, capacity=300)
        assert replay.length in (told, told + 1)  # the last may have been written and not told
        assert replay.check() == 0
        start = max(0, replay.length - 300)
        clips = replay.clips(np.arange(start, replay.length), rows=1)
        for j, i in enumerate(range(start, replay.length)):
            assert np.array_equal(clips.frames[j, 0], row(i).frame)
            assert clips.rewards[j, 0] == row(i).reward
        replay.close()
    assert told > 300  # the ring has wrapped
