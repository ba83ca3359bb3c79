"""Choosing: plans against exhaustive search, bounds, seeds, what is seen and remembered."""

from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa.world.agent.acting import EverySequence, ImaginedReturn, as_actions, choose, proposed
from isojepa.world.agent.agent import export_agent, load_agent
from isojepa.world.agent.experience import Exploration, Schedule, as_tensor, stacked
from isojepa.world.agent.imagination import imagined_frames
from isojepa.world.agent.measures import Activity
from isojepa.world.agent.replay import Replay, Row
from isojepa.world.model.predictor import Predictor
from isojepa.world.planners.problem import Planner, Problem
from tests.world.agent.small import small_agent


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("discrete", [True, False])
def test_an_imagined_return_is_the_sum_written_out(discrete: bool) -> None:
    agent = small_agent(discrete=discrete).eval()
    z = torch.randn(2, 8)
    raw = torch.rand(2, 3, 4, 2) * 2 - 1
    actions = as_actions(agent, raw)
    with torch.no_grad():
        found = -ImaginedReturn(agent, z)(raw)
        for b in range(2):
            for s in range(3):
                state, weight, total = z[b : b + 1], 1.0, 0.0
                for i in range(4):
                    action = actions[b, s, i][None]
                    total += weight * agent.reward.expected(state, action).item()
                    going = agent.continuation(state, action).sigmoid().item()
                    weight *= agent.spec.discount * going
                    state = agent.imagine(state, action[:, None, None])[:, 0, 0]
                total += weight * agent.best_value(state).item()
                assert found[b, s].item() == pytest.approx(total, rel=1e-3, abs=1e-3)


def test_every_sequence_finds_the_best_there_is() -> None:
    agent, z = small_agent(a=3).eval(), torch.randn(4, 8)
    cost = ImaginedReturn(agent, z)
    low = -torch.ones(3)
    problem = Problem(torch.zeros(4, 3, 3), low, -low)
    assert isinstance(EverySequence(), Planner)
    plan = EverySequence().plan(cost, problem, generator())
    random = torch.eye(3)[torch.randint(0, 3, (4, 500, 3), generator=generator())]
    with torch.no_grad():
        assert (plan.cost[:, None] <= cost(random) + 1e-5).all()
        assert torch.allclose(cost(plan.actions[:, None])[:, 0], plan.cost, atol=1e-5)


@pytest.mark.parametrize("horizon", [0, 1, 3])
@pytest.mark.parametrize("discrete", [True, False])
def test_choices_are_actions_and_a_function_of_the_generator(discrete: bool, horizon: int) -> None:
    agent, z = small_agent(discrete=discrete, a=3).eval(), torch.randn(5, 8)
    one, two = (choose(agent, z, horizon=horizon, generator=generator()) for _ in range(2))
    assert torch.equal(one.action, two.action)
    assert one.action.shape == (5, 3)
    if discrete:
        assert (one.action.sum(-1) == 1).all()
    else:
        assert (one.action.abs() <= 1).all()


def test_a_search_begins_no_worse_than_the_policy_would_do() -> None:
    agent, z = small_agent(discrete=False).eval(), torch.randn(5, 8)
    cost = ImaginedReturn(agent, z)
    with torch.no_grad():
        start = proposed(agent, z, cost, 3, generator())
        state, preferred = z, []
        for _ in range(3):
            action = agent.policy.draw(state, torch.zeros(5, 2)).action
            preferred.append(action)
            state = agent.imagine(state, action[:, None, None])[:, 0, 0]
        by_policy = cost(torch.stack(preferred, 1)[:, None])[:, 0]
        assert (cost(start[:, None])[:, 0] <= by_policy + 1e-4).all()
        planned = -choose(agent, z, horizon=3, generator=generator()).value
        assert planned.mean() <= by_policy.mean() + 1e-4


def test_an_action_is_held_and_in_the_world_models_units() -> None:
    agent = small_agent(discrete=False, frame_skip=3, world={"action_std": (0.5, 2.0)})
    blocks = agent.blocks(torch.tensor([[1.0, -0.5]]))
    assert torch.allclose(blocks, torch.tensor([[2.0, -0.25] * 3]))


def test_an_agent_is_loaded_as_it_was_written(tmp_path: Path) -> None:
    agent = small_agent().eval()
    export_agent(tmp_path / "agent", agent)
    again = load_agent(tmp_path)
    assert again.spec == agent.spec
    frames = torch.randint(0, 256, (2, 1, 6, 16, 16), dtype=torch.uint8)
    assert torch.equal(again.encode(frames), agent.encode(frames))


def test_imagination_is_shown_by_the_nearest_frames_seen(tmp_path: Path) -> None:
    """Where an action changes nothing and all is seen, the frames shown are those of the start."""
    agent = small_agent(stack=1).eval()
    replay = Replay(tmp_path, frame_size=16, a=2, capacity=50)
    frames = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    for i, frame in enumerate(frames):
        nothing = np.zeros(2, np.float32)
        replay.append(Row(frame, nothing, False, nothing, 0.0, i == 0, False, False))
    z = agent.encode(as_tensor(frames[:15, None]))[:, 0].detach()
    agent.world.predictor_projector = torch.nn.Identity()
    agent.world.predictor = Standing(agent.world.predictor)
    found = imagined_frames(agent, replay, z, torch.zeros(15, 2), seed=0, step=0)
    assert all(np.array_equal(frame, frames[0]) for frame in found[:10])
    assert all(np.array_equal(frame, frames[10]) for frame in found[10:])


class Standing(Predictor):
    """A predictor for which nothing ever changes."""

    def __init__(self, other: Predictor) -> None:
        torch.nn.Module.__init__(self)
        self.history, self.blocks, self.enter_condition = 1, other.blocks, other.enter_condition
        self.positions = other.positions

    def advance(self, z, _modulations, past=None):  # type: ignore[no-untyped-def]
        return z[:, -1], past


def test_stacks_of_few_frames_repeat_the_first() -> None:
    frames = [np.full((2, 2, 3), i, np.uint8) for i in range(3)]
    assert stacked(frames[:1], 3)[0, 0].tolist() == [0] * 9
    assert stacked(frames, 2)[0, 0].tolist() == [1] * 3 + [2] * 3


def test_exploration_comes_down_and_updates_wait_for_steps() -> None:
    exploration = Exploration(random_steps=5, until=100, start=1.0, end=0.1, hold=1)
    assert exploration.amount(0) == 1.0
    assert exploration.amount(50) == pytest.approx(0.55)
    assert exploration.amount(500) == pytest.approx(0.1)
    schedule = Schedule(offline=3, random_steps=100, every=4)
    assert [schedule.steps_before(u) for u in (0, 2, 3, 4, 10)] == [0, 0, 100, 104, 128]


def test_dormant_units_are_those_that_say_nothing() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(4, 10), torch.nn.ReLU())
    with torch.no_grad():
        layer[0].weight.normal_()
        layer[0].bias.fill_(5.0)
        layer[0].weight[:3] = 0
        layer[0].bias[:3] = -1.0
    with Activity(layer) as activity:
        layer(torch.rand(50, 4))
    assert activity.dormant == pytest.approx(0.3)
