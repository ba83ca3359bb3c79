"""Frozen pairs, parts that are kept, and the strict rules."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.control.manifest import freeze, read_manifest
from isojepa.world.control.outcomes import Keeper, PairOutcome, PlayedPairs
from isojepa.world.control.pairs import Pairs, draw_pairs
from isojepa.world.environments.environment import Environment
from isojepa.world.environments.known import CUBE, PUSH_T, REACHER, TWO_ROOM
from isojepa.world.environments.rooms import crosses_legally
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from tests.world.episode_files import write_dots

pytest.importorskip("h5py")
pytest.importorskip("stable_worldmodel")
DOTS = Environment(
    id="dots/v0", needs=("proprio",),
    distance=lambda a, b: np.linalg.norm(a["proprio"] - b["proprio"], axis=-1),
)  # fmt: skip


def opened(folder: Path, **changes: Any) -> Trajectories:
    write_dots(folder / "dots.h5", **{"episodes": 6, "steps": 30, **changes})
    return open_trajectories(folder / "dots.h5", cache=folder / "cache")


@pytest.fixture
def data(tmp_path: Path) -> Trajectories:
    return opened(tmp_path)


def drawn(data: Trajectories) -> dict[str, dict[int, Pairs]]:
    ahead = {
        s: draw_pairs(data, np.arange(6), count=9, offset=10, seed=s, distance=DOTS.distance)
        for s in (0, 1)
    }
    across = Pairs(*(np.array(x) for x in ([3, 1], [2, 4], [5, 5], [0, 7], [0.0, 0.0])))
    return {"10 ahead": ahead, "walled": {0: across}}


def test_pairs_are_read_back_as_they_were_written(data: Trajectories, tmp_path: Path) -> None:
    pairs, path = drawn(data), tmp_path / "new" / "pairs.json"
    freeze(path, pairs, data, DOTS, "strict")
    found = read_manifest(path, data, DOTS, "strict")
    assert list(found) == list(pairs)
    for name, seeds in pairs.items():
        for seed, one in seeds.items():
            for mine, theirs in zip(found[name][seed][:4], one[:4]):
                np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(found["10 ahead"][1].distance, pairs["10 ahead"][1].distance)
    # At another frame size, and with the episodes in another order after new ones
    twice = open_trajectories(tmp_path / "dots.h5", cache=tmp_path / "cache", frame_size=16)
    again = read_manifest(path, twice, DOTS, "strict")
    np.testing.assert_array_equal(again["walled"][0].goal, [0, 7])
    longer = opened(tmp_path / ".." / tmp_path.name, episodes=8)
    assert len(read_manifest(path, longer, DOTS, "strict")["10 ahead"][0].start) == 9


def test_bad_manifests_are_named_in_one_line(data: Trajectories, tmp_path: Path) -> None:
    path = tmp_path / "pairs.json"
    freeze(path, drawn(data), data, DOTS, "strict")
    whole = json.loads(path.read_text())

    def refused(match: str, known: Environment = DOTS, **changes: Any) -> None:
        path.write_text(json.dumps(whole | changes))
        with pytest.raises(UserError, match=match) as caught:
            read_manifest(path, data, known, "strict")
        assert "\n" not in str(caught.value)

    refused("pairs of dots/v0, not other/v0", known=replace(DOTS, id="other/v0"))
    refused("no manifest of pairs of format 1 .but 7.", format=7)
    refused("pairs of stable-worldmodel 0.0.1, but", platform="0.0.1")
    refused("pairs of the published protocol", protocol="published")
    refused("1 of its 6 episodes are not in .*dots.h5 as they were, first its episode 0",
            episodes=[[0, "0123456789abcdef"], *whole["episodes"][1:]])  # fmt: skip
    goals = {"walled": [{"seed": 0, "pairs": [[0, 1, 9, 2]]}]}
    refused("an episode that is not listed", goals=goals)
    goals = {"walled": [{"seed": 0, "pairs": [[0, 1, 1, 99]]}]}
    refused("a step beyond its episode", goals=goals)
    path.write_text("[]")
    with pytest.raises(UserError, match="no manifest"):
        read_manifest(path, data, DOTS, "strict")
    freeze(path, drawn(data), data, DOTS, "strict")
    changed = opened(tmp_path / ".." / tmp_path.name, seed=1)
    with pytest.raises(UserError, match="the data have changed since"):
        read_manifest(path, changed, DOTS, "strict")


def test_what_was_played_is_kept_for_the_same_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "control.json.part"
    batch = PlayedPairs(
        policy="plan", seed=0, first=50, outcomes=(PairOutcome(True, 3, None, 50),), plans=2,
        seconds=0.5, sequences=7, taken=9, cut=1,
    )  # fmt: skip
    Keeper(path, "a").add(batch)
    again = Keeper(path, "a")
    assert again.find("plan", 0, 50, 1) == batch
    assert again.find("plan", 0, 50, 2) is None
    assert again.find("random", 0, 50, 1) is None
    assert Keeper(path, "b").batches == []
    path.write_text("{")
    assert Keeper(path, "a").batches == []
    again.close()
    assert not path.exists()


DOOR = SimpleNamespace(
    wall_axis=1, door_positions=np.array([49.0]), door_sizes=np.array([14.0])
)  # of the platform's TwoRoom, as it is without variations


@pytest.mark.parametrize(
    ("before", "after", "legal"),
    [
        ((100, 50), (108, 50), True),  # stays
        ((108, 50), (116, 52), True),  # through the door
        ((116, 62), (108, 62.9), True),  # along its edge, back
        ((108, 100), (116, 100), False),  # through the wall
        ((108, 62), (116, 70), False),  # ends beyond the wall, having met it beside the door
        ((108, 60), (116, 64), True),  # meets it within the door
    ],
)
def test_a_wall_is_crossed_through_its_door(before: Any, after: Any, legal: bool) -> None:
    a, b = (np.array(x, np.float64) for x in (before, after))
    assert crosses_legally(DOOR, a, b) == legal
    turned = SimpleNamespace(**{**vars(DOOR), "wall_axis": 0})
    assert crosses_legally(turned, a[::-1], b[::-1]) == legal


def test_strict_rules_are_clears() -> None:
    def near(known: Environment, state: Any, goal: Any) -> bool:
        assert known.strict is not None
        rows = ({k: np.array(v, np.float64) for k, v in one.items()} for one in (state, goal))
        return bool(known.strict.near(*rows))

    at = {"proprio": [50, 50]}
    assert near(TWO_ROOM, {"proprio": [50, 57.9]}, at)
    assert not near(TWO_ROOM, {"proprio": [50, 58.1]}, at)
    block = {"state": [0, 0, 100, 100, 0.1, 0, 0]}
    tilt = np.deg2rad(9.9)
    assert near(PUSH_T, {"state": [0, 0, 107, 107, 0.1 + tilt, 0, 0]}, block)
    assert not near(PUSH_T, {"state": [0, 0, 108, 107, 0.1, 0, 0]}, block)
    assert not near(PUSH_T, {"state": [0, 0, 100, 100, 0.1 + 1.1 * tilt, 0, 0]}, block)
    where, turn = "privileged_block_0_pos", "privileged_block_0_quat"
    cube = {where: [0.0, 0, 0], turn: [1.0, 0, 0, 0]}

    def turned(degrees: float, sign: float = 1.0) -> list[float]:
        half = np.deg2rad(degrees) / 2
        return [sign * np.cos(half), 0, 0, sign * np.sin(half)]

    assert near(CUBE, {where: [0.029, 0, 0], turn: turned(14.9)}, cube)
    assert near(CUBE, {where: [0.029, 0, 0], turn: turned(14.9, -1)}, cube)  # the same turn
    assert not near(CUBE, {where: [0.031, 0, 0], turn: turned(0)}, cube)
    assert not near(CUBE, {where: [0.0, 0, 0], turn: turned(15.1)}, cube)
    tip = {"finger_pos": [0.1, 0.1]}
    assert near(REACHER, {"finger_pos": [0.1, 0.1099]}, tip)
    assert not near(REACHER, {"finger_pos": [0.1, 0.1101]}, tip)
    held = [known.strict.hold for known in (TWO_ROOM, PUSH_T, CUBE, REACHER) if known.strict]
    assert held == [1, 3, 3, 2]
