"""One run beside another, in words."""

from isojepa.pages.encoder.evidence import Evidence
from isojepa.pages.encoder.findings import SINGLE_DIRECTION_RANK
from isojepa.pages.encoder.verdict import judge_training
from isojepa.theme.wording import number


def compare_runs(this: Evidence, other: Evidence) -> str:
    """What sets another run apart, in plain words that hold for these numbers."""
    name, state, loss = other.run.name, judge_training(other).state, other.last("loss")
    if other.lambd is not None:
        name += f" (λ = {other.lambd:g})"
    if loss is None:
        return f"{name} has no curves to compare."
    ours = this.last("loss")
    text = f"The loss of {name} ended at {number(loss)}"
    text += "." if ours is None else f", that of {this.run.name} at {number(ours)}."
    if state == "collapsed" and loss < 0.01 * other.run.curve("loss")[1][0]:
        text += (
            " A loss near zero looks like success and is the opposite: the views of a sample agree"
            " because all samples agree."
        )
    projections = other.projections
    if projections is not None:
        text += (
            f" Its projections have a standard deviation of {number(projections.deviation)} and "
            f"an effective rank of {projections.uncentred_rank:.1f} in {projections.d} dimensions."
        )
        if state == "collapsed" and projections.uncentred_rank < SINGLE_DIRECTION_RANK:
            text += " One direction is all that is left; 1 is the least an effective rank can be."
        elif state == "collapsed":
            text += (
                " Effective rank is blind to scale: with the one point that is left at the origin, "
                "it counts the noise around it."
            )
    return text
