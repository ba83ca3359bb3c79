"""Where gradients go, what values are trained towards, what masks leave out."""

from typing import Any

import numpy as np
import pytest
import torch

from isojepa.objective.sigreg import SIGReg
from isojepa.world.agent.agent import Agent
from isojepa.world.agent.objective import HEADS, AgentLoss, AgentTerms, Weights, masked_mean
from isojepa.world.agent.targets import n_step_returns
from tests.world.agent.small import gradient, small_agent, small_batch

NOTHING = Weights(prediction=0.0, lambd=0.0, reward=0.0, value=0.0, policy=0.0, entropy=0.0)


def terms_of(agent: Agent, batch: Any = None, **settings: Any) -> AgentTerms:
    batch = small_batch(agent) if batch is None else batch
    torch.manual_seed(3)
    loss = AgentLoss(agent=agent, sigreg=SIGReg(slices=16), **settings)
    return loss(agent(batch.frames, batch.actions), batch, 0)


@pytest.mark.parametrize("teacher", ["value", "planner"])
@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("head", HEADS)
def test_each_flag_cuts_its_heads_gradient_and_no_other(
    head: str, discrete: bool, teacher: str
) -> None:
    """Of the loss with that head's weight alone, into encoder, predictor and the head."""
    weights = Weights(**{**vars(NOTHING), head: 1.0})
    found = {}
    for detach in (frozenset(), frozenset({head}), frozenset(HEADS) - {head}):
        agent = small_agent(discrete=discrete)
        terms_of(agent, weights=weights, detach=detach, teacher=teacher).loss.backward()
        encoder = gradient(agent.world.encoder.parameters())
        predictor = gradient(agent.world.predictor.parameters())
        own = gradient({"reward": agent.reward, "value": agent.values, "policy": agent.policy}[
            head
        ].parameters())  # fmt: skip
        found[detach] = encoder, predictor, own
    open_, cut, others = found.values()
    assert np.abs(open_[0]).max() > 0
    assert np.abs(open_[1]).max() > 0
    assert np.abs(cut[0]).max() == 0
    assert np.abs(cut[1]).max() == 0
    assert np.abs(cut[2]).max() > 0
    for part, other in zip(open_, others):
        assert np.array_equal(part, other)


def test_a_gradient_that_is_cut_is_the_whole_difference() -> None:
    """With all terms on, cutting value takes exactly the value's own gradient from the encoder."""
    weights = Weights(prediction=1.0, lambd=0.1, reward=0.7, value=0.3, policy=0.2)
    alone = Weights(**{**vars(NOTHING), "value": 0.3})
    whole, cut, value = (
        _encoder_gradient(w, d) for w, d in ((weights, ()), (weights, ("value",)), (alone, ()))
    )
    assert np.allclose(whole - cut, value, atol=1e-5)


def _encoder_gradient(weights: Weights, detach: tuple[str, ...]) -> np.ndarray:
    agent = small_agent()
    terms_of(agent, weights=weights, detach=frozenset(detach)).loss.backward()
    return gradient(agent.world.encoder.parameters())


@pytest.mark.parametrize("term", ["prediction", "lambd"])
def test_prediction_and_sigreg_can_be_turned_off(term: str) -> None:
    agent = small_agent()
    assert not terms_of(agent, weights=NOTHING).loss.requires_grad
    agent = small_agent()
    terms_of(agent, weights=Weights(**{**vars(NOTHING), term: 1.0})).loss.backward()
    assert np.abs(gradient(agent.world.encoder.parameters())).max() > 0
    assert (np.abs(gradient(agent.world.predictor.parameters())).max() > 0) == (
        term == "prediction"
    )


@pytest.mark.parametrize("discrete", [True, False])
def test_no_gradient_reaches_slow_values_nor_the_values_from_the_policy(discrete: bool) -> None:
    agent = small_agent(discrete=discrete)
    terms_of(agent, weights=Weights(**{**vars(NOTHING), "policy": 1.0})).loss.backward()
    assert np.abs(gradient(agent.values.parameters())).max() == 0
    assert np.abs(gradient(agent.policy.parameters())).max() > 0
    assert not any(p.requires_grad for p in agent.slow_values.parameters())


def test_slow_values_move_by_their_share() -> None:
    agent = small_agent()
    before = gradient_free(agent.slow_values)
    with torch.no_grad():
        for parameter in agent.values.parameters():
            parameter.add_(1.0)
    agent.follow(0.25)
    assert np.allclose(gradient_free(agent.slow_values), before + 0.25, atol=1e-6)


def gradient_free(module: torch.nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().flatten().numpy() for p in module.parameters()])


def test_returns_against_a_case_by_hand() -> None:
    """Discount 1/2. Row 0: the task ends at row 2. Row 1: cut at row 1. Row 2: nothing ends."""
    rewards = torch.tensor([[0.0, 1, 2, 0, 8], [0.0, 4, 0, 1, 1], [0.0, 1, 1, 1, 1]])
    values = torch.tensor([[9.0, 9, 9, 9, 16]] * 3)
    first = torch.tensor([[0, 0, 0, 1, 0], [1, 0, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    terminated = torch.zeros(3, 5, dtype=torch.bool)
    terminated[0, 2] = True
    found = n_step_returns(rewards, values, ~first[:, 1:], terminated, discount=0.5, n=3)
    assert found[0, 0] == 1 + 2 / 2  # and nothing after the end
    assert found[0, 1] == 2
    assert found[0, 3] == 8 + 16 / 2  # the window ends before three steps are over
    assert found[1, 0] == 4 + 9 / 2  # cut: the value stands for what would have followed
    assert found[1, 2] == 1 + 1 / 2 + 16 / 4
    assert found[2, 0] == 1 + 1 / 2 + 1 / 4 + 9 / 8
    one = n_step_returns(rewards, values, ~first[:, 1:], terminated, discount=0.5, n=1)
    assert one[2].tolist() == [1 + 4.5, 1 + 4.5, 1 + 4.5, 1 + 8]


def test_what_is_masked_does_not_matter() -> None:
    """Actions and rewards at an episode's last row lead nowhere: any will do."""
    agent = small_agent()
    batch = small_batch(agent)
    before = terms_of(agent, batch)
    actions, rewards = batch.actions.clone(), batch.rewards.clone()
    actions[0, 1] = 1 - actions[0, 1]  # row 1 of window 0 is its episode's last
    rewards[0, 2] = 99.0  # nothing was received on the way to an episode's first row
    after = terms_of(agent, batch._replace(actions=actions, rewards=rewards))
    for name, x, y in zip(before._fields, before, after):
        assert x.item() == pytest.approx(y.item(), rel=1e-5), name


def test_rewards_that_are_unknown_teach_the_world_model_alone() -> None:
    agent = small_agent()
    batch = small_batch(agent)
    terms = terms_of(agent, batch._replace(rewards=torch.full_like(batch.rewards, torch.nan)))
    assert terms.loss.isfinite()
    assert terms.reward == terms.value == terms.continuation == 0
    assert terms.prediction > 0


def test_masked_mean_is_that_of_what_is_left() -> None:
    x, mask = torch.tensor([1.0, 2.0, torch.nan]), torch.tensor([True, True, False])
    assert masked_mean(x, mask) == 1.5
    assert masked_mean(x, torch.zeros(3, dtype=torch.bool)) == 0
