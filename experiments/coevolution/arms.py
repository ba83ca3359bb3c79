"""The arms, tasks and sizes of the co-evolution experiment: what differs, and nothing else.

Same encoder, heads, environment steps and updates in all arms; `LearnConfig` says the rest.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from isojepa.world import LearnConfig

ALL: tuple[Literal["reward", "value", "policy"], ...] = ("reward", "value", "policy")
Changes = dict[str, Any]


class Arm(NamedTuple):
    """Which terms shape the representation."""

    what: str
    changes: Changes
    offline: bool = False
    """Learn the representation from chance first, then freeze it and learn the heads."""


ARMS = {
    "A": Arm("offline, SIGReg, then frozen", {"detach": ALL}, offline=True),
    "B": Arm("online, SIGReg, heads detached", {"detach": ALL}),
    "C": Arm("online, SIGReg, reward and value gradients", {"detach": ("policy",)}),
    "D": Arm("as C, without SIGReg", {"detach": ("policy",), "lambd": 0.0}),
    "E": Arm("task gradients alone", {"detach": ("policy",), "lambd": 0.0, "prediction": 0.0}),
}
PAIRS = {
    "own data (B - A)": ("B", "A"),
    "task gradients (C - B)": ("C", "B"),
    "SIGReg (C - D)": ("C", "D"),
    "prediction (D - E)": ("D", "E"),
}
"""What each difference isolates."""


class Task(NamedTuple):
    """An environment with distractors, how it is learnt, and what becomes of the representation."""

    settings: Changes
    option: tuple[str, ...]
    changed: tuple[str, ...]
    """The same with other distractors: robustness."""
    transfer: tuple[str, ...]
    """A second task in the same world."""
    state: tuple[int, ...]
    """Entries of the recorded state that are probed."""


ROOM = Task(
    {"env": "isojepa/TwoRoom-v0", "frame_skip": 5, "stack": 2, "hold": 3, "discount": 0.95,
     "random_steps": 3000, "env_steps": 19_000, "explore_until": 12_000, "explore_end": 0.2,
     "update_every": 4, "test_episodes": 20},
    ("distractors=3",), ("distractors=3", "distractor_colour=(220,160,30)"),
    ("distractors=3", "goals=any"), (0, 1),
)  # fmt: skip
TASKS = {
    "two-room-8": ROOM._replace(settings=ROOM.settings | {"embedding_dim": 8}),
    "two-room-64": ROOM._replace(settings=ROOM.settings | {"embedding_dim": 64}),
    "reacher-64": Task(
        {"env": "isojepa/ReacherEasy-v0", "frame_skip": 4, "stack": 2, "hold": 2,
         "discount": 0.98, "random_steps": 4000, "env_steps": 20_000, "explore_until": 12_000,
         "explore_end": 0.2, "update_every": 4, "test_episodes": 5, "embedding_dim": 64},
        ("distractors=3",), ("distractors=3", "distractor_colour=(220,160,30)"),
        ("distractors=3", "task=hard"), (0, 1),
    ),
    "cartpole-64": Task(
        {"env": "isojepa/CartPole-v1", "stack": 2, "random_steps": 1000, "env_steps": 17_000,
         "update_every": 4, "test_episodes": 10, "embedding_dim": 64},
        ("distractors=3",), ("distractors=3", "distractor_colour=(220,160,30)"),
        (), (0, 2),
    ),
}  # fmt: skip
"""CartPole stands in for Reacher should that not learn within the budget (see --tasks)."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of the grid."""

    task: str
    arm: str
    seed: int
    quick: bool = False

    def folder(self, out: Path) -> Path:
        """Where its runs lie."""
        return out / self.task / self.arm / f"seed-{self.seed}"

    def main(self, out: Path) -> LearnConfig:
        """The run whose curve counts; arm A's starts from the run of `first`, frozen."""
        config = self._config(self.folder(out) / "run")
        if not ARMS[self.arm].offline:
            return config
        half = self._halved(config)
        return replace(
            half, start_from=self.folder(out) / "first", prediction=0.0, lambd=0.0, detach=ALL
        )

    def first(self, out: Path) -> LearnConfig | None:
        """Arm A's representation: learnt from chance, in half of the steps and updates."""
        if not ARMS[self.arm].offline:
            return None
        half = self._halved(self._config(self.folder(out) / "first"))
        return replace(half, explore=1.0, explore_end=1.0, plan=0)

    def transfer(self, out: Path) -> LearnConfig | None:
        """The second task on the frozen representation, in half of the steps."""
        task = TASKS[self.task]
        if not task.transfer:
            return None
        half = self._halved(self._config(self.folder(out) / "transfer"))
        return replace(
            half, start_from=self.folder(out) / "run", option=task.transfer,
            prediction=0.0, lambd=0.0, detach=ALL,
        )  # fmt: skip

    def _halved(self, config: LearnConfig) -> LearnConfig:
        steps = config.random_steps + (config.env_steps - config.random_steps) // 2
        return replace(config, env_steps=steps)

    def _config(self, out: Path) -> LearnConfig:
        task, arm = TASKS[self.task], ARMS[self.arm]
        settings = task.settings | arm.changes
        if self.quick:
            settings |= QUICK
        return LearnConfig(
            out=out, option=task.option, seed=self.seed, keep=20, tensorboard=False, **settings
        )


QUICK: Changes = {
    "env_steps": 160, "random_steps": 120, "frame_size": 32, "batch_size": 4, "rollout": 2,
    "slices": 8, "plan": 1, "test_episodes": 2, "save_every": 5, "log_every": 5, "members": 2,
}  # fmt: skip
