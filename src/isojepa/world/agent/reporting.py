"""What a learning agent has come to: metrics of a line, and the result of a run."""

import numpy as np

from isojepa.files import Json
from isojepa.world.agent.evaluation import AgentEvaluation, rate
from isojepa.world.agent.experience import Experience
from isojepa.world.agent.learnt import Learnt
from isojepa.world.agent.measures import Measured

RECENT = 10  # training episodes whose mean return is shown


def learnt(tested: AgentEvaluation, measured: Measured, life: Experience) -> Learnt:
    """The result of an evaluation."""
    return Learnt(
        env_steps=life.env_steps,
        decisions=life.decisions,
        episodes=len(life.episodes),
        returns=tuple(tested.returns.tolist()),
        lengths=tuple(tested.lengths.tolist()),
        success=rate(tested.success),
        expected=tuple(tested.expected.tolist()),
        **measured.as_metrics(),
    )


def of_life(life: Experience) -> Json:
    """What a line of metrics says of the training episodes."""
    recent = life.episodes[-RECENT:]
    line: Json = {
        "env_steps": life.env_steps,
        "episodes": len(life.episodes),
        "exploration": life.exploration.amount(life.env_steps),
    }
    if recent:
        line["train_return"] = float(np.mean([e.reward for e in recent]))
    known = [float(e.success) for e in recent if e.success is not None]
    return line | ({"train_success": float(np.mean(known))} if known else {})


def of_test(tested: AgentEvaluation) -> Json:
    """What it says of an evaluation."""
    line: Json = {
        "test_return": float(tested.returns.mean()),
        "test_length": float(tested.lengths.mean()),
        "test_expected": float(tested.expected.mean()),
    }
    success = rate(tested.success)
    return line | ({} if success is None else {"test_success": success})
