"""The agent's life: it acts in one environment, and what it sees goes into its replay."""

import logging
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from isojepa.files import Json
from isojepa.randomness import Stream, generator, seed_from
from isojepa.world.agent.acting import choose
from isojepa.world.agent.agent import Agent
from isojepa.world.agent.objective import AgentBatch
from isojepa.world.agent.replay import RecalledClips, Replay, Row
from isojepa.world.environments.pixel_env import PixelEnv

log = logging.getLogger(__name__)


class Episode(NamedTuple):
    """One that is over."""

    env_steps: int
    """Of the whole run, at its end."""
    length: int
    """In environment steps."""
    reward: float
    """Their sum, the return."""
    success: bool | None
    """As the environment defines it; None where it does not."""


@dataclass(frozen=True, kw_only=True)
class Exploration:
    """What is added to what the agent wants: less and less of it."""

    random_steps: int
    """Environment steps of nothing but chance, before the first update."""
    until: int
    """Environment step at which exploration has come down to its end."""
    start: float
    """At first: probability of a random choice, or deviation of the noise on numbers in [-1, 1]."""
    end: float
    hold: int
    """Decisions for which one draw is held, so that chance goes somewhere."""

    def amount(self, env_steps: int) -> float:
        """Linear from start to end."""
        share = min(1.0, env_steps / max(1, self.until))
        return self.start + share * (self.end - self.start)


class ExperienceState(NamedTuple):
    """What a checkpoint keeps of an agent's life."""

    length: int
    """Of the replay."""
    offline_rows: int
    env_steps: int
    decisions: int
    episodes: list[tuple[Any, ...]]
    """As `Episode` has them."""
    within: bool
    """Whether an episode has begun and is not over; what follows is of that."""
    frame: int
    """Checksum of its last frame."""
    env_seed: int
    taken: torch.Tensor
    """Its actions, (t, a)."""
    pending: tuple[float, bool, float, int]
    """Reward since the last row, whether that is the first, return, and step where it began."""


class Experience:
    """Acts, stores, and can be put back to where a checkpoint was.

    Args:
        horizon: decisions planned while exploring; see `choose`.
    """

    def __init__(
        self,
        agent: Agent,
        env: PixelEnv,
        replay: Replay,
        exploration: Exploration,
        *,
        seed: int,
        horizon: int,
    ) -> None:
        self.agent, self.env, self.replay, self.exploration = agent, env, replay, exploration
        self.seed, self.horizon = seed, horizon
        self.env_steps = self.decisions = 0
        self.offline_rows = 0
        """Of the replay, put there before the first episode."""
        self.episodes: list[Episode] = []
        self._frames: list[UInt8[np.ndarray, "y x c"]] = []
        """Of the present episode, the last `stack` at decisions; empty between episodes."""
        self._reward, self._first, self._return, self._began = 0.0, True, 0.0, 0

    def advance(self, until: int) -> None:
        """Act until so many environment steps are done, or a few more: a decision is whole."""
        if self.env_steps >= until:
            return
        with in_eval_mode(self.agent):
            while self.env_steps < until:
                self._decide()

    def _decide(self) -> None:
        if not self._frames:
            self._begin()
        action, advice, planned = self._choose()
        frame = self._frames[-1]
        row = Row(frame, action, planned, advice, self._reward, self._first, False, False)
        self.replay.append(row)
        self._reward, self._first = 0.0, False
        self.decisions += 1
        for _ in range(self.agent.world.frame_skip):
            seen = self.env.step(action)
            self.env_steps += 1
            self._reward += seen.reward
            if seen.terminated or seen.truncated:
                break
        self._return += self._reward
        self._frames = [*self._frames, seen.frame][-self.agent.spec.stack :]
        if seen.terminated or seen.truncated:
            nothing = np.zeros_like(action)
            self.replay.append(
                Row(
                    seen.frame, nothing, False, nothing, self._reward, False,
                    seen.terminated, seen.truncated,
                )
            )  # fmt: skip
            length = self.env_steps - self._began
            self.episodes.append(Episode(self.env_steps, length, self._return, seen.success))
            self._frames = []

    def _begin(self) -> None:
        seed = seed_from(self.seed, len(self.episodes), Stream.AGENT_EPISODE)
        self._frames = [self.env.reset(seed)]
        self._reward, self._first, self._return, self._began = 0.0, True, 0.0, self.env_steps

    def _choose(self) -> tuple[Float32[np.ndarray, " a"], Float32[np.ndarray, " a"], bool]:
        """The action, what it was before exploration, and whether that was planned."""
        a, discrete = self.agent.spec.a, self.agent.spec.discrete
        held = (self.decisions // self.exploration.hold, len(self.episodes))
        chance = np.random.Generator(np.random.Philox(seed_from(self.seed, *held, Stream.ACTING)))
        draw = chance.random()
        noise = chance.standard_normal(a) if not discrete else np.eye(a)[chance.integers(a)]
        if self.env_steps < self.exploration.random_steps:
            action = noise if discrete else chance.uniform(-1, 1, a)
            return action.astype(np.float32), np.zeros(a, np.float32), False
        with torch.no_grad():
            z = self.agent.encode(as_tensor(self._stacked()[None, None]))[:, 0].float()
            planning = generator(self.seed, self.decisions, Stream.ACTING)
            wanted = choose(self.agent, z, horizon=self.horizon, generator=planning).action[0]
        advice = wanted.cpu().numpy().astype(np.float32)
        amount = self.exploration.amount(self.env_steps)
        if discrete:
            action = noise.astype(np.float32) if draw < amount else advice
        else:
            action = np.clip(advice + amount * noise, -1, 1).astype(np.float32)
        return action, advice, self.horizon > 0

    def _stacked(self) -> UInt8[np.ndarray, "y x kc"]:
        return stacked(self._frames, self.agent.spec.stack)

    def state_dict(self) -> Json:
        """What a checkpoint needs: the replay's length, and the episode as seed and actions."""
        self.replay.flush()
        taken = self.env.taken if self._frames else []
        state = ExperienceState(
            length=self.replay.length,
            offline_rows=self.offline_rows,
            env_steps=self.env_steps,
            decisions=self.decisions,
            episodes=[tuple(episode) for episode in self.episodes],
            within=bool(self._frames),
            frame=zlib.crc32(self._frames[-1].tobytes()) if self._frames else 0,
            env_seed=self.env.seed,
            taken=torch.tensor(np.array(taken, np.float32).reshape(-1, self.agent.spec.a)),
            pending=(self._reward, self._first, self._return, self._began),
        )
        return state._asdict()

    def load_state_dict(self, state: Json) -> None:
        """Go back to there; the environment's present episode is made again."""
        before = ExperienceState(**state)
        self.replay.forget_after(before.length)
        self.offline_rows = before.offline_rows
        self.env_steps, self.decisions = before.env_steps, before.decisions
        self.episodes = [Episode(*episode) for episode in before.episodes]
        self._reward, self._first, self._return, self._began = before.pending
        self._frames = []
        if before.within:
            frame = self.env.again(before.env_seed, list(before.taken.numpy()))
            if zlib.crc32(frame.tobytes()) != before.frame:
                log.warning(
                    "%s is no function of its seed and actions: the run goes on from elsewhere",
                    self.env.env_id,
                )
            self._frames = [*self._earlier_frames(), frame]

    def _earlier_frames(self) -> list[UInt8[np.ndarray, "y x c"]]:
        if self._first:
            return []
        rows = self.agent.spec.stack - 1
        last = self.replay.clips(np.array([self.replay.length - 1]), rows=1, stack=max(1, rows))
        return np.split(last.frames[0, 0], max(1, rows), -1) if rows else []


@contextmanager
def in_eval_mode(agent: Agent) -> Iterator[None]:
    """Eval mode, for as long as the agent acts."""
    before = agent.training
    agent.eval()
    try:
        yield
    finally:
        agent.train(before)


def stacked(frames: list[UInt8[np.ndarray, "y x c"]], k: int) -> UInt8[np.ndarray, "y x kc"]:
    """The last k frames, the newest last; the first stands for those before it."""
    frames = frames[-k:]
    return np.concatenate([frames[0]] * (k - len(frames)) + frames, -1)


def as_tensor(frames: UInt8[np.ndarray, "b t y x c"]) -> UInt8[torch.Tensor, "b t c y x"]:
    """Frames channels first."""
    return torch.from_numpy(frames).permute(0, 1, 4, 2, 3)


def as_batch(clips: RecalledClips) -> AgentBatch:
    """Windows of a replay as tensors."""
    frames, *others = clips
    return AgentBatch(
        as_tensor(frames), *(torch.from_numpy(np.ascontiguousarray(x)) for x in others)
    )


class Schedule(NamedTuple):
    """How many environment steps have been made when an update is."""

    offline: int
    """Updates before the first step."""
    random_steps: int
    every: int
    """Environment steps between two updates after that."""

    def steps_before(self, update: int) -> int:
        """Of update number `update`, counted from 0."""
        return (
            0 if update < self.offline else self.random_steps + self.every * (update - self.offline)
        )


def act_and_recall(
    experience: Experience, schedule: Schedule, *, batch: int, rows: int, updates: Iterable[int]
) -> Iterator[AgentBatch]:
    """Before each update act as far as the schedule says, then draw what to learn from."""
    stack, replay = experience.agent.spec.stack, experience.replay
    for update in updates:
        experience.advance(schedule.steps_before(update))
        whole = slice(0, batch)
        clips = replay.sample(
            experience.seed, update, batch=batch, rows=rows, stack=stack, share=whole
        )
        yield as_batch(clips)
