"""The package's own environments: the originals' physics, pictures like theirs, seeds, mistakes."""

import gymnasium as gym
import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.world.environments.distractors import Distractors
from isojepa.world.environments.drawing import blank, paint_bar, paint_box, paint_dot
from isojepa.world.environments.fast import FAST, register_fast
from isojepa.world.environments.pixel_env import Actions, actions_of, make_pixel_env
from isojepa.world.environments.platform import check_renderer, quiet
from isojepa.world.environments.two_room import TwoRoom, move
from isojepa.world.episodes.decoded import resize

BOX, CHOICE = [e for e in FAST if "CartPole-" not in e], "isojepa/CartPole-v1"


def drawable(env_id: str) -> str:
    if "TwoRoom" not in env_id and "CartPole-" not in env_id:
        try:
            check_renderer(env_id)
        except UserError as error:
            pytest.skip(str(error))
    return env_id


@pytest.mark.parametrize("env_id", FAST)
def test_gymnasium_finds_nothing_wrong(env_id: str) -> None:
    from gymnasium.utils.env_checker import check_env

    register_fast()
    env = gym.make(drawable(env_id))
    with quiet():
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


@pytest.mark.parametrize("env_id", FAST)
def test_an_episode_is_a_function_of_its_seed_and_can_be_made_again(env_id: str) -> None:
    options = {"distractors": 2}
    one, two = (make_pixel_env(drawable(env_id), frame_size=32, options=options) for _ in range(2))
    random = np.random.default_rng(0)
    frames = [one.reset(5)]
    for _ in range(6):
        frames.append(one.step(random.uniform(-1, 1, one.actions.a).astype(np.float32)).frame)
    assert all(f.shape == (32, 32, 3) and f.dtype == np.uint8 for f in frames)
    two.reset(1)  # something else before
    assert np.array_equal(two.again(5, one.taken), frames[-1])
    assert not np.array_equal(frames[0], frames[-1])
    assert not np.array_equal(two.reset(6), frames[0])
    one.close(), two.close()


def test_two_room_moves_as_the_platform_does() -> None:
    """Walls, door and borders, from everywhere in all directions, against the platform's rule."""
    with quiet():
        two_room = pytest.importorskip("stable_worldmodel.envs.two_room")
        original = two_room.TwoRoomEnv()
        original.reset(seed=0)
    random = np.random.default_rng(0)
    crossed = blocked = 0
    for _ in range(400):
        place = random.uniform(14, 210, 2)
        place[0] = random.choice([place[0], random.uniform(90, 134)])
        place[1] = random.choice([place[1], random.uniform(30, 70)])
        action = random.uniform(-1.5, 1.5, 2)
        original._set_state(place.astype(np.float32))
        with quiet():
            original.step(action.astype(np.float32))
        expected = np.asarray(original.agent_position)
        found = move(place.astype(np.float32).astype(np.float64), action)
        assert np.allclose(found, expected, atol=1e-4), (place, action)
        crossed += (place[0] < 112) != (found[0] < 112)
        blocked += abs(found[0] - (place + 5 * np.clip(action, -1, 1))[0]) > 1e-3
    assert crossed > 3
    assert blocked > 10


def test_two_room_looks_as_the_platform_draws_it() -> None:
    with quiet():
        two_room = pytest.importorskip("stable_worldmodel.envs.two_room")
        original = two_room.TwoRoomEnv(render_target=True)
        original.reset(seed=0)
    ours = TwoRoom(frame_size=64)
    state, goal = np.array([60.0, 150.0]), np.array([170.0, 60.0])
    ours.reset(seed=0, options={"state": state, "goal_state": goal})
    original._set_state(state.astype(np.float32))
    original._set_goal_state(goal.astype(np.float32))
    with quiet():
        theirs = resize(original.render(), 64).astype(int)
    difference = np.abs(ours.render().astype(int) - theirs)
    assert difference.mean() < 0.5
    assert (difference.max(-1) > 40).mean() < 0.01  # the goal's green is another


def test_two_room_rewards_reaching_the_goal_in_the_other_room() -> None:
    env = TwoRoom()
    for seed in range(20):
        env.reset(seed=seed)
        assert (env.place[0] < 112) != (env.goal[0] < 112)
    env.reset(seed=0, options={"state": np.array([160.0, 160.0]), "goal_state": [185.0, 160.0]})
    _, reward, terminated, truncated, info = env.step(np.array([1.0, 0.0]))
    assert (reward, terminated, truncated, info["success"]) == (0.0, False, False, False)
    _, reward, terminated, _, info = env.step(np.array([1.0, 0.0]))
    assert (reward, terminated, info["success"]) == (1.0, True, True)


def test_cart_pole_is_gymnasiums_step_for_step() -> None:
    env, original = make_pixel_env(CHOICE, frame_size=64), gym.make("CartPole-v1")
    env.reset(7)
    original.reset(seed=7)
    random = np.random.default_rng(0)
    for _ in range(200):
        choice = int(random.integers(2))
        seen = env.step(np.eye(2, dtype=np.float32)[choice])
        state, reward, terminated, truncated, _ = original.step(choice)
        assert np.array_equal(seen.info["state"], state)
        assert (seen.reward, seen.terminated, seen.truncated) == (reward, terminated, truncated)
        if terminated:
            break
    else:
        pytest.fail("a random policy does not balance")


def test_cart_pole_looks_as_gymnasium_draws_it() -> None:
    pytest.importorskip("pygame")
    env = make_pixel_env(CHOICE, frame_size=64)
    with quiet():
        original = gym.make("CartPole-v1", render_mode="rgb_array")
        ours = env.reset(3).astype(float)
        original.reset(seed=3)
        theirs = resize(np.asarray(original.render()), 64).astype(float)
        original.close()
    assert np.abs(ours - theirs).mean() < 2.0
    dark = theirs.min(-1) < 200
    assert np.corrcoef(ours[dark].ravel(), theirs[dark].ravel())[0, 1] > 0.9


@pytest.mark.parametrize(("env_id", "domain", "task"), [
    ("isojepa/ReacherEasy-v0", "reacher", "easy"),
    ("isojepa/CartpoleSwingup-v0", "cartpole", "swingup"),
])  # fmt: skip
def test_dm_control_is_its_own_step_for_step(env_id: str, domain: str, task: str) -> None:
    env = make_pixel_env(drawable(env_id), frame_size=32)
    from dm_control import suite

    env.reset(0)
    original = suite.load(domain, task)
    original.reset()
    with original.physics.reset_context():
        data = env.env.unwrapped.env.physics
        original.physics.data.qpos[:] = data.data.qpos
        original.physics.data.qvel[:] = data.data.qvel
        original.physics.model.geom_pos[:] = data.model.geom_pos
        original.physics.model.geom_size[:] = data.model.geom_size
    random = np.random.default_rng(0)
    for _ in range(30):
        action = random.uniform(-1, 1, env.actions.a).astype(np.float32)
        seen, step = env.step(action), original.step(action)
        assert np.allclose(seen.info["qpos"], original.physics.data.qpos, atol=1e-6)
        assert seen.reward == pytest.approx(step.reward, rel=1e-4)
    env.close()


def test_an_environment_that_is_not_ours_is_drawn_and_resized() -> None:
    pytest.importorskip("pygame")
    env = make_pixel_env("Pendulum-v1", frame_size=48)
    assert env.reset(0).shape == (48, 48, 3)
    assert env.actions.to_env(np.array([-1.0], np.float32)) == pytest.approx(-2.0)
    assert env.step(np.array([0.5], np.float32)).success is None
    env.close()


def test_actions_there_and_back() -> None:
    low, high = np.array([-2, 0], np.float32), np.array([2, 1], np.float32)
    numbers = actions_of(gym.spaces.Box(low, high), "x")
    unit = np.array([[-1.0, 0.5], [0.25, 1.0]], np.float32)
    restored = np.stack([numbers.to_env(u) for u in unit])
    assert np.allclose(restored, [[-2, 0.75], [0.5, 1]])
    assert np.allclose(numbers.from_env(restored), unit)
    choice = actions_of(gym.spaces.Discrete(3, start=5), "x")
    assert isinstance(choice, Actions)
    assert choice.to_env(np.array([0.0, 0.2, 0.1], np.float32)) == 6
    assert np.array_equal(choice.from_env(np.array([7, 5])), [[0, 0, 1], [1, 0, 0]])


def test_distractors_move_straight_and_are_reflected() -> None:
    dots = Distractors(n=3, speed=0.05)
    begun = dots.begin(np.random.default_rng(0))
    paths = np.stack([dots.places(begun, t) for t in range(200)])
    assert (paths >= 0).all()
    assert (paths <= 1).all()
    steps = np.linalg.norm(np.diff(paths, axis=0), axis=-1)
    assert steps.max() < 0.0501
    assert np.median(steps) == pytest.approx(0.05)


def test_shapes_cover_what_they_should() -> None:
    picture = blank(20, (0, 0, 0))
    paint_box(picture, (1.5, 4.0), (2.0, 3.5), (100, 100, 100))
    assert picture[..., 0].sum() == pytest.approx(100 * 2.5 * 1.5)
    paint_dot(picture := blank(40, (0, 0, 0)), 19.0, 21.0, 2.0, (200, 0, 0))
    assert np.unravel_index(picture[..., 0].argmax(), (40, 40)) == (21, 19)
    assert picture[..., 0].sum() == pytest.approx(200 * 2 * np.pi * 4, rel=0.01)
    paint_bar(picture := blank(40, (0, 0, 0)), (5.0, 20.0), (35.0, 20.0), 3.0, (100, 100, 100))
    assert picture[..., 0].sum() == pytest.approx(100 * (30 * 3 + np.pi * 1.5**2), rel=0.03)
    paint_dot(picture, -50.0, 3.0, 1.0, (1, 1, 1))  # outside: nothing happens


@pytest.mark.parametrize(("env_id", "options", "words"), [
    ("isojepa/TwoRooms-v0", {}, "did you mean isojepa/TwoRoom-v0"),
    ("no such thing", {}, "the fast ones are"),
    ("isojepa/TwoRoom-v0", {"goals": "there"}, "other or any"),
    ("isojepa/TwoRoom-v0", {"distractors": 99}, "expected 0 to 16"),
    ("isojepa/CartPole-v1", {"colour": 3}, "unexpected keyword"),
])  # fmt: skip
def test_mistakes_get_one_clear_line(env_id: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        make_pixel_env(env_id, frame_size=32, options=options)
    assert "\n" not in str(caught.value)


def test_an_action_space_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="one discrete choice"):
        actions_of(gym.spaces.MultiBinary(3), "x")
    with pytest.raises(UserError, match="with bounds"):
        actions_of(gym.spaces.Box(-np.inf, np.inf, (2,)), "x")
