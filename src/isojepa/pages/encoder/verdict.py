"""Findings -> one verdict: the state of a run, why, and what to change."""

from collections.abc import Iterator

import numpy as np

from isojepa.embeddings.monitor import findings_of
from isojepa.encoders.evaluation.results import Scores
from isojepa.pages.encoder import findings
from isojepa.pages.encoder.baselines import comparisons, probes_are_fine
from isojepa.pages.encoder.evidence import (
    COLLAPSED_DEVIATION,
    SHRUNKEN_DEVIATION,
    Evidence,
    falls,
    improvements,
)
from isojepa.pages.encoder.findings import BEHIND_BASELINE, NARROW_RANK_SHARE, SINGLE_DIRECTION_RANK
from isojepa.pages.encoder.shortcuts import BY_COLOUR, shortcut_findings
from isojepa.runs.checkpoints import list_checkpoints
from isojepa.theme.findings import Finding, Level, Verdict, gravest_first
from isojepa.theme.wording import listed, lower_first, number, percent

LEVELS_OF_STATES: dict[str, Level] = {
    "healthy": "good",
    "level with a baseline": "note",
    "still improving": "note",
    "agrees by colour": "warning",
    "worse than a baseline": "problem",
    "past its best": "warning",
    "partly collapsed": "warning",
    "collapsed": "problem",
    "diverged": "problem",
    "not judged": "note",
}
ALIVE = (
    "healthy", "level with a baseline", "still improving", "agrees by colour",
    "worse than a baseline", "past its best",
)  # fmt: skip


def judge_training(evidence: Evidence) -> Verdict:
    """Weigh the evidence.

    Collapse is read off the projections, where SIGReg acts: their scale, then their effective
    rank. A small scale that SIGReg contradicts is a lag of batch normalisation, not a collapse. A
    low rank alone never condemns a run whose encoder scores above the untrained one: data of few
    factors cannot fill a wide projector. Without a sample, SIGReg and the invariance decide.

    A run is called healthy only where no baseline reads better, by the linear probe or by k-NN, and
    nothing was still moving. Without labels what the views agreed by, colour above all, decides.
    """
    state = _state(evidence)
    found = _findings(state, evidence)
    return Verdict(
        states=(state,),
        level=LEVELS_OF_STATES[state],
        summary=_summary(state, evidence, found),
        why=" ".join(_reasons(state, evidence)),
        remedies=tuple(_remedies(state, evidence, found)),
        findings=tuple(found),
    )


def _findings(state: str, evidence: Evidence) -> list[Finding]:
    run, projections = evidence.run, evidence.projections
    found = list(findings.score_findings(run))
    if state == "diverged":
        detail = "The last loss, or embeddings in the sample, are NaN or infinite."
        found.append(Finding("problem", "Some numbers are not finite", detail))
    else:
        found += findings.sigreg(evidence)
    if projections is not None:
        fine = probes_are_fine(run)
        found.append(findings.projection_scale(projections, evidence.lags))
        found += findings.projection_rank(projections, fine=fine, lags=evidence.lags)
    found += findings_of(evidence.alarms)
    found += findings.settings(evidence)
    found += findings.pictures(evidence)
    found += shortcut_findings(evidence.shortcut)
    if state == "collapsed":  # nothing else that looks good, or could improve, matters then
        found = [finding for finding in found if finding.level != "good"]
    else:
        found += [findings.slice_finding(evidence.slices)] if evidence.slices is not None else []
        found += (
            findings.beyond_scale(evidence.measurement) if evidence.measurement is not None else []
        )
        found += findings.progress(evidence)
    found += findings.skipped_files(evidence)
    return gravest_first(found)


def _state(evidence: Evidence) -> str:
    projections, loss = evidence.projections, evidence.run.curve("loss")[1]
    if not evidence.finite or (len(loss) and not np.isfinite(loss[-1])):
        return "diverged"
    if projections is None and not len(loss):
        return "not judged"
    fine, improving = probes_are_fine(evidence.run), bool(improvements(evidence))
    if projections is None:
        if _sits_at_a_point(evidence):
            return "collapsed"
    else:
        deviation = 1.0 if evidence.lags else projections.deviation
        one_line = projections.d > 2 and projections.uncentred_rank < SINGLE_DIRECTION_RANK
        few = projections.uncentred_share < NARROW_RANK_SHARE
        if deviation < COLLAPSED_DEVIATION or (one_line and not fine):
            return "collapsed"
        if deviation < SHRUNKEN_DEVIATION or (few and not fine and not improving):
            return "partly collapsed"
    if any(c.loses for c in comparisons(evidence.run)):
        return "worse than a baseline"
    if falls(evidence):
        return "past its best"
    if evidence.shortcut is not None and evidence.shortcut.misleads and not evidence.run.scores:
        return "agrees by colour"
    if improving:
        return "still improving"
    trails = any(c.trails for c in comparisons(evidence.run))
    return "level with a baseline" if trails else "healthy"


def _sits_at_a_point(evidence: Evidence) -> bool:
    """Whether the curves alone say so: SIGReg as at a point, and views that agree to 1 %."""
    share, invariance = evidence.sigreg_share, evidence.last("invariance")
    if share is None or invariance is None:
        return False
    return 0.8 < share < 1.2 and invariance < 0.01


SUMMARIES: dict[str, str] = {
    "healthy": "Use it: the embeddings are spread out and training has settled.",
    "level with a baseline": (
        "Compare before you use it: the embeddings are spread out and training has settled, but "
        "{baseline} does as well."
    ),
    "still improving": (
        "Train longer{longer}: the embeddings are spread out, and were still improving at the end."
    ),
    "agrees by colour": (
        "Train again with --colours vary: the embeddings are spread out, but {share} of them is "
        "colour, which in these pictures has nothing to do with what they show."
    ),
    "worse than a baseline": ("Do not use it yet; {first}: the encoder is worse than {baseline}."),
    "past its best": (
        "Go back to an earlier encoder: the embeddings are spread out, but were better earlier in "
        "training."
    ),
    "partly collapsed": "Do not use it: part of the embedding space is lost.",
    "collapsed": (
        "Do not use it: the embeddings have collapsed, all {many} land on nearly the same {place}."
    ),
    "diverged": "Do not use it: training produced numbers that are not finite.",
    "not judged": "This folder holds neither curves nor a sample to judge the run by.",
}
"""What to do first, then why."""


def _summary(state: str, evidence: Evidence, found: list[Finding]) -> str:
    projections, trailing = evidence.projections, comparisons(evidence.run)
    on_a_line = projections is not None and projections.deviation >= COLLAPSED_DEVIATION
    worst = min(trailing, key=lambda c: c.ours - c.theirs, default=None)
    asked = _longer(evidence)
    longer = f" ({asked})" if asked else ""
    misled = evidence.shortcut is not None and evidence.shortcut.misleads
    summary = SUMMARIES[state].format(
        place="line" if on_a_line else "point",
        many=evidence.words.many,
        longer=longer,
        baseline="" if worst is None else worst.in_words,
        first="train again with --colours vary" if misled else f"train longer{longer}",
        share="" if evidence.shortcut is None else percent(evidence.shortcut.share),
    )
    if state in ALIVE:
        linear = evidence.run.scores.get("encoder", Scores()).linear
        if linear is not None:
            summary += f" A linear probe on them is right {percent(linear)} of the time."
        problems = [
            lower_first(f.title)
            for f in found
            if f.level == "problem" and f.title != BEHIND_BASELINE
        ]
        summary += f" But {listed(problems)}." if problems else ""
    return summary


def _longer(evidence: Evidence) -> str:
    """The flag that trains three times as long; twice where updates were asked for."""
    settings = evidence.settings
    if settings.minutes is not None:
        return f"--minutes {3 * settings.minutes:g}"
    return f"--steps {2 * settings.steps}" if settings.steps else ""


def _reasons(state: str, evidence: Evidence) -> Iterator[str]:
    projections, sigreg = evidence.projections, evidence.last("sigreg")
    if state in ("diverged", "not judged"):
        return
    if projections is not None:
        yield (
            f"The projections have a standard deviation of {number(projections.deviation)} per "
            f"coordinate, where SIGReg asks for 1, and an effective rank of "
            f"{projections.uncentred_rank:.1f} in {projections.d} dimensions."
        )
    if sigreg is not None and evidence.point is not None:
        yield (
            f"SIGReg ended at {number(sigreg)}, on a scale from {evidence.floor:.2f} for a perfect "
            f"Gaussian to {number(evidence.point)} for a single point."
        )
    if state == "past its best":
        for fall in falls(evidence):
            show = number if fall.key == "effective_rank" else percent
            yield (
                f"The {fall.name} was {show(fall.best)} at step {fall.step:,} and "
                f"{show(fall.end)} at the end."
            )
    if state == "still improving":
        yield f"When training ended, {listed(improvements(evidence))}."


def _remedies(state: str, evidence: Evidence, found: list[Finding]) -> Iterator[str]:
    lambd = evidence.lambd
    behind = state in ("worse than a baseline", "level with a baseline")
    misled = any(finding.title == BY_COLOUR for finding in found)
    if state == "diverged":
        yield "Lower the learning rate, or train in float32, and start again."
    if evidence.same_pictures:
        yield "Train on pictures that differ: look at --data, and at how they were made."
    elif state in ("collapsed", "partly collapsed"):
        if not lambd:
            yield "Switch SIGReg on: --lambd 0.05."
        elif lambd < 0.05:
            yield f"Give SIGReg more weight than {lambd:g}: --lambd 0.05."
        else:
            yield "Lower the learning rate, and use batches of at least 128."
    if state == "partly collapsed":
        yield "Narrow the projector: it may be wider than the data can fill."
    projections = evidence.projections
    narrow = projections is not None and projections.uncentred_share < NARROW_RANK_SHARE
    if state == "past its best":
        yield from _go_back(evidence)
    if state in ALIVE and narrow and lambd is not None and lambd < 0.05:
        yield f"Give SIGReg more weight than {lambd:g}, to open more directions: --lambd 0.05."
    if misled:
        yield "Train again with --colours vary, so that views cannot agree by colour."
    if state == "still improving" or behind:
        longer = _longer(evidence)
        yield f"Train longer{f': {longer}' if longer else ''}."
    if behind:
        yield (
            "Look at the views below. Weaken those that crop, blur or recolour away what tells the "
            "classes apart."
        )


def _go_back(evidence: Evidence) -> Iterator[str]:
    """Which checkpoint to take, and how to end a training in time."""
    fall = falls(evidence)[0]
    best = evidence.run.best
    if best is not None:
        yield (
            f"Use the encoder of step {best.step:,}, which had the best online probe and is kept: "
            f'load_encoder("{evidence.run.path / "checkpoints" / "best"}").'
        )
    kept = [int(p.name[5:]) for p in list_checkpoints(evidence.run.path / "checkpoints")]
    if kept and best is None:
        nearest = min(kept, key=lambda step: abs(step - fall.step))
        yield (
            f"The checkpoint nearest to step {fall.step:,} that is kept is step-{nearest:08d}; "
            "--keep keeps more of them."
        )
    yield f"End training near step {fall.step:,}, or lower the learning rate."
