"""The result of a learning agent's run."""

from dataclasses import dataclass

LEARNT = "learnt.json"


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """RUN/learnt.json: the last evaluation of an agent without exploration."""

    env_steps: int
    decisions: int
    episodes: int
    """Of training."""
    returns: tuple[float, ...]
    """Of the evaluation's episodes."""
    lengths: tuple[float, ...]
    """In environment steps."""
    success: float | None
    """Share of the evaluation's episodes; None where the environment does not define it."""
    expected: tuple[float, ...]
    """What the agent expected to earn at their starts, discounted."""
    effective_rank: float
    deviation: float
    gaussianity_p: float
    dormant: float
