"""What an update of an agent minimises: LeWorldModel's two terms, and what reads the embeddings.

Reward, continuation and value are read from embeddings of frames and from imagined ones alike, as
planning will. Whether their gradients reach the encoder and the predictor is a choice for each.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.func import functional_call

from isojepa.objective.sigreg import SIGReg
from isojepa.world.agent.agent import Agent, States
from isojepa.world.agent.targets import n_step_returns

Head = Literal["reward", "value", "policy"]
HEADS: tuple[Head, ...] = get_args(Head)
Teacher = Literal["value", "planner"]


class AgentBatch(NamedTuple):
    """Windows of t consecutive rows of a replay, as tensors; see `Clips` and `Row`."""

    frames: UInt8[Tensor, "b t c y x"]
    actions: Float[Tensor, "b t a"]
    advice: Float[Tensor, "b t a"]
    planned: Bool[Tensor, "b t"]
    rewards: Float[Tensor, "b t"]
    first: Bool[Tensor, "b t"]
    terminated: Bool[Tensor, "b t"]


class AgentTerms(NamedTuple):
    """The loss and its terms before their weights, each a scalar."""

    loss: Float[Tensor, ""]
    prediction: Float[Tensor, ""]
    """Mean squared error per coordinate one decision ahead, from real embeddings."""
    rollout: Float[Tensor, ""]
    """The same two decisions ahead and more, from the model's own predictions."""
    sigreg: Float[Tensor, ""]
    """0 if its weight is 0."""
    reward: Float[Tensor, ""]
    """Cross-entropy, as is the value's; nats."""
    continuation: Float[Tensor, ""]
    value: Float[Tensor, ""]
    policy: Float[Tensor, ""]
    target: Float[Tensor, ""]
    """Mean of what values are trained towards."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Of the terms."""

    prediction: float = 1.0
    """Weight of predicting the next embeddings; 0 turns it off."""
    lambd: float = 0.09
    """Weight of SIGReg; 0 turns it off."""
    reward: float = 0.5
    """Weight of reward and continuation."""
    value: float = 0.5
    """Weight of the values."""
    policy: float = 0.5
    """Weight of the policy."""
    entropy: float = 1e-3
    """Bonus for a policy on numbers that stays random."""


@dataclass(frozen=True, kw_only=True)
class AgentLoss:
    """The loss of a batch; see the page's head.

    Args of the settings: `detach` names the heads whose gradient ends at the embedding; reward
    includes continuation.
    """

    agent: Agent
    sigreg: SIGReg
    weights: Weights = field(default_factory=Weights)
    detach: frozenset[Head] = frozenset({"policy"})
    teacher: Teacher = "value"
    n: int = 5
    """Steps of reward before a value stands for the rest."""

    def __call__(self, states: States, batch: AgentBatch, step: int) -> AgentTerms:
        z = states.z
        going = ~batch.first[:, 1:]
        unbroken = going.long().cumprod(1).bool()
        prediction = masked_mean((states.predicted - z[:, 1:]).square().mean(-1), going)
        rollout = masked_mean((states.rolled[:, 1:] - z[:, 2:]).square().mean(-1), unbroken[:, 1:])
        weights, zero = self.weights, z.new_zeros(())
        sigreg = self.sigreg(z.transpose(0, 1), step=step) if weights.lambd else zero
        x = torch.stack([z[:, :-1], torch.cat([z[:, :1], states.rolled[:, :-1]], 1)])
        mask = torch.stack([going, unbroken])
        reward, continuation = self._reward(x, mask, batch)
        value, target = self._value(x, mask, z.detach(), going, batch)
        policy = self._policy(x, mask, batch)
        weighed = (
            (weights.prediction, prediction + rollout),
            (weights.lambd, sigreg),
            (weights.reward, reward + continuation),
            (weights.value, value),
            (weights.policy, policy),
        )
        # What has no weight gets no gradient, not one of 0, so that the optimiser leaves it alone
        loss = sum((weight * term for weight, term in weighed if weight), start=zero)
        return AgentTerms(
            loss, prediction, rollout, sigreg, reward, continuation, value, policy, target
        )

    def _seen_by(self, head: Head, x: Tensor) -> Tensor:
        return x.detach() if head in self.detach else x

    def _reward(self, x: Tensor, mask: Tensor, batch: AgentBatch) -> tuple[Tensor, Tensor]:
        x, agent = self._seen_by("reward", x), self.agent
        actions = batch.actions[:, :-1].expand(2, -1, -1, -1)
        rewards = batch.rewards[:, 1:].expand(2, -1, -1)
        known = mask & rewards.isfinite()
        reward = agent.reward.two_hot.loss(agent.reward(x, actions), rewards.nan_to_num())
        goes_on = (~batch.terminated[:, 1:]).to(x.dtype).expand(2, -1, -1)
        continuation = nn.functional.binary_cross_entropy_with_logits(
            agent.continuation(x, actions), goes_on, reduction="none"
        )
        return masked_mean(reward, known), masked_mean(continuation, known)

    def _value(
        self, x: Tensor, mask: Tensor, z: Tensor, going: Tensor, batch: AgentBatch
    ) -> tuple[Tensor, Tensor]:
        x, agent = self._seen_by("value", x), self.agent
        with torch.no_grad():
            targets = n_step_returns(
                batch.rewards, slow_value(agent, z), going, batch.terminated,
                discount=agent.spec.discount, n=self.n,
            )  # fmt: skip
        known = mask & targets.isfinite()
        logits = agent.values(x, batch.actions[:, :-1].expand(2, -1, -1, -1))
        loss = agent.values.two_hot.loss(logits, targets.nan_to_num().expand(logits.shape[:-1]))
        return masked_mean(loss.mean(0), known), masked_mean(targets.nan_to_num(), known[0])

    def _policy(self, x: Tensor, mask: Tensor, batch: AgentBatch) -> Tensor:
        x, agent = self._seen_by("policy", x), self.agent
        if self.teacher == "planner":
            advice = batch.advice[:, :-1].expand(2, -1, -1, -1)
            planned = batch.planned[:, :-1] & mask
            return masked_mean(agent.policy.disagreement(x, advice), planned)
        if agent.spec.discrete:
            with torch.no_grad():
                q = agent.values.two_hot.decode(agent.values.of_all(x)).mean(0)
                above = q - q.mean(-1, keepdim=True)
                usual = masked_mean(above.abs().mean(-1), mask).clamp(min=1e-6)
                wanted = (2 * above / usual).softmax(-1)
            return masked_mean(-(wanted * agent.policy(x).log_softmax(-1)).sum(-1), mask)
        action, entropy = agent.policy.draw(x, torch.randn_like(x[..., :1].expand(
            *x.shape[:-1], agent.spec.a)))  # fmt: skip
        fixed = {name: p.detach() for name, p in agent.values.named_parameters()}
        logits = functional_call(agent.values, fixed, (x.detach(), action))
        q = agent.values.two_hot.decode(logits).mean(0)
        low, high = torch.quantile(q.detach().flatten(), q.new_tensor([0.05, 0.95]))
        scale = (high - low).clamp(min=1.0)
        return masked_mean(-q / scale - self.weights.entropy * entropy, mask)


def slow_value(agent: Agent, z: Float[Tensor, "b t d"]) -> Float[Tensor, "b t"]:
    """The value of states by the slow ensemble, the lesser of two of its members.

    Of the choice that the fast values like best, or of a draw from the policy.
    """
    slow, a = agent.slow_values, agent.spec.a
    if agent.spec.discrete:
        fast = agent.values.two_hot.decode(agent.values.of_all(z)).mean(0)
        action = nn.functional.one_hot(fast.argmax(-1), a).to(z.dtype)
    else:
        action = agent.policy.draw(z, torch.randn(*z.shape[:-1], a, device=z.device)).action
    values = slow.two_hot.decode(slow(z, action))
    if len(values) > 2:
        values = values[torch.randperm(len(values), device=z.device)[:2]]
    return values.amin(0)


def masked_mean(x: Float[Tensor, "*n"], mask: Bool[Tensor, "*n"]) -> Float[Tensor, ""]:
    """The mean where the mask is True; 0 where it is nowhere."""
    return torch.where(mask, x, torch.zeros_like(x)).sum() / mask.sum().clamp(min=1)
