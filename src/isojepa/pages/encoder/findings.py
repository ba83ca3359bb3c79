"""Evidence -> findings in plain words, each with its level."""

from collections.abc import Iterator
from dataclasses import replace

from isojepa.embeddings.findings import shape, spread, table
from isojepa.embeddings.measurement import Measurement
from isojepa.embeddings.slices import SliceTest
from isojepa.embeddings.spectrum import Spectrum
from isojepa.objective.automatic import TARGET, at_guard_rail
from isojepa.pages.encoder.baselines import comparisons
from isojepa.pages.encoder.evidence import (
    COLLAPSED_DEVIATION,
    GAUSSIAN_SHARE,
    ROUGH_SHARE,
    SHRUNKEN_DEVIATION,
    Evidence,
    falls,
    improvements,
    trend,
)
from isojepa.pages.run import Run
from isojepa.theme.findings import Finding, Level
from isojepa.theme.wording import listed, number, percent

# The network of `evidence.COLLAPSED_DEVIATION` filled 14 of 64 directions, a rank share of 0.22;
# with lambda 0.002 it filled one.
SINGLE_DIRECTION_RANK, NARROW_RANK_SHARE = 1.5, 0.1


BEHIND_BASELINE = "The encoder is worse than a baseline"


# The projections


def projection_scale(projections: Spectrum, lags: bool) -> Finding:
    """`lags`: see `Evidence.lags`."""
    detail = f"Each coordinate has a standard deviation of {number(projections.deviation)}"
    if lags:
        return Finding(
            "warning",
            "The projections are narrower than in training",
            f"{detail}, yet SIGReg shows that training batches came close to 1. The averages of "
            "batch normalisation, which replace the batch's own here, trail the weights when "
            "training is short.",
        )
    if projections.deviation < COLLAPSED_DEVIATION:
        return Finding(
            "problem",
            "The projections have shrunk to a point",
            f"{detail}, where SIGReg asks for 1: whatever goes in, nearly the same comes out.",
        )
    if projections.deviation < SHRUNKEN_DEVIATION:
        return Finding(
            "warning",
            "The projections are narrow",
            f"{detail}, where SIGReg asks for 1: halfway to a collapse.",
        )
    if projections.deviation > 2:
        title = "The projections are too wide"
        return Finding("warning", title, f"{detail}, where SIGReg asks for 1.")
    return Finding("good", "The projections keep their scale", f"{detail}; SIGReg asks for 1.")


def projection_rank(projections: Spectrum, *, fine: bool, lags: bool) -> Iterator[Finding]:
    """`fine`: the encoder scores above the untrained one, so a low rank need not be a loss."""
    effective, d = projections.uncentred_rank, projections.d
    detail = (
        f"The effective rank of the projections is {effective:.1f} of {d}; {projections.n:,} "
        f"samples of an isotropic Gaussian would show {projections.isotropic_rank:.1f}."
    )
    if projections.deviation < COLLAPSED_DEVIATION and not lags:
        blind = "It compares directions with each other and is blind to their scale"
        title = f"Effective rank {effective:.1f} means little here"
        yield Finding("note", title, f"{detail} {blind}: what it counts is noise around a point.")
        return
    if d > 2 and effective < SINGLE_DIRECTION_RANK and not fine:
        yield Finding(
            "problem",
            "The projections lie along one line",
            f"{detail} All but one direction have collapsed.",
        )
    elif projections.uncentred_share < NARROW_RANK_SHARE and not fine:
        yield Finding(
            "warning",
            "Most directions are empty",
            f"{detail} The rest carries almost no variance: they have collapsed, or training was "
            "too short to open them.",
        )
    elif projections.uncentred_share < 0.5:
        yield Finding(
            "warning" if projections.uncentred_share < NARROW_RANK_SHARE else "note",
            f"The projections use about {effective:.0f} of {d} directions",
            f"{detail} Data of few factors cannot fill more; a longer run or a narrower projector "
            "brings the two closer.",
        )
    else:
        yield Finding("good", "The projections fill their space", detail)


def beyond_scale(measurement: Measurement) -> Iterator[Finding]:
    """What `isojepa diagnose` finds in the projections beyond their scale and rank.

    Nothing here condemns a run: a short one is rarely Gaussian, and its encoder may still be good.
    """
    for finding in (
        *table.rows_read(measurement),
        *table.duplicates(measurement),
        *spread.isotropy(measurement),
        *shape.outliers(measurement),
        *shape.gaps(measurement),
        *shape.symmetry(measurement),
        *shape.tails(measurement),
    ):
        level: Level = "warning" if finding.level == "problem" else finding.level
        yield replace(finding, level=level, detail=f"{finding.detail} {finding.remedy}".strip())


def slice_finding(test: SliceTest) -> Finding:
    """What the worst and the median direction say of normality."""
    worst = (
        f"The worst of {test.slices} directions scores {number(test.worst)}, where {test.n:,} "
        f"Gaussian samples stay below {number(test.null_worst_95)} in 95 % of draws "
        f"(p {'≤' if test.p_value <= test.least_p else '='} {test.p_value:.3g}). "
    )
    typical = (
        f"The median direction scores {number(test.median)}, where a Gaussian slice stays below "
        f"{number(test.null_slice_95)} in 95 % of draws."
    )
    if test.p_value > 0.05:
        title = f"{test.n:,} samples cannot be told from a Gaussian"
        return Finding("good", title, worst + typical)
    size = " So large a sample shows departures that a training batch hides."
    return Finding(
        "note", f"{test.n:,} samples can be told from a Gaussian", worst + typical + size
    )


# The curves


def sigreg(evidence: Evidence) -> Iterator[Finding]:
    """Where SIGReg ended between its floor and a point."""
    value, share = evidence.last("sigreg"), evidence.sigreg_share
    if value is None or share is None:
        return
    detail = (
        f"It ended at {number(value)}. Batches of {evidence.batch_size} from a perfect Gaussian "
        f"score {evidence.floor:.2f} (never 0), batches collapsed to a point "
        f"{number(evidence.point)}."
    )
    if share < GAUSSIAN_SHARE:
        yield Finding("good", "SIGReg is near its floor", detail)
    elif share < ROUGH_SHARE:
        yield Finding("note", "SIGReg is above its floor", f"{detail} The shape is roughly right.")
    else:
        yield Finding(
            "warning", "SIGReg is far from its floor", f"{detail} The shape is not Gaussian."
        )


def progress(evidence: Evidence) -> Iterator[Finding]:
    """Whether training had settled, and what was better before."""
    run = evidence.run
    found, fallen = improvements(evidence), falls(evidence)
    rates = run.curve("lr")[1]
    annealed = len(rates) > 1 and rates[-1] < 0.05 * rates.max()
    for fall in fallen:
        show = number if fall.key == "effective_rank" else percent
        yield Finding(
            "warning",
            f"The {fall.name} has fallen from its best",
            f"It reached {show(fall.best)} at step {fall.step:,} and ended at {show(fall.end)}.",
        )
    if found:
        detail = f"When training ended, {listed(found)}."
        yield Finding("note", "Training was not finished", detail)
    elif trend(run.curve("loss")) is not None and not fallen:
        yield Finding(
            "good",
            "Training has settled",
            "Neither the loss nor the probes were still improving by more than their noise."
            + (
                " The learning rate had run out, so only a longer run could show more."
                if annealed
                else ""
            ),
        )


# The scores


def score_findings(run: Run) -> Iterator[Finding]:
    """The encoder's linear probe and k-NN against the same on each baseline."""
    found = comparisons(run)
    behind = [c.in_words for c in found if c.loses]
    level = [c.in_words for c in found if not c.loses and c.ours <= c.theirs]
    ahead = [c.in_words for c in found if c.ours > c.theirs]
    if behind:
        yield Finding(
            "problem",
            BEHIND_BASELINE,
            f"It is behind {listed(behind)}, by more than the test set's noise.",
        )
    elif level:
        yield Finding(
            "note",
            "The encoder is level with a baseline",
            f"It is level with {listed(level)}, within the test set's noise.",
        )
    elif ahead:
        yield Finding(
            "good", "The encoder beats every baseline", f"It is ahead of {listed(ahead)}."
        )


# The configuration and the data


def settings(evidence: Evidence) -> Iterator[Finding]:
    """Settings that explain what is seen."""
    lambd, batch = evidence.lambd, evidence.batch_size
    if evidence.settings.lambd == "auto":
        yield from automatic_lambda(evidence)
    elif lambd == 0:
        yield Finding(
            "warning",
            "Nothing prevents collapse",
            "λ is 0: the loss only asks that views agree, and its perfect optimum is to put every "
            f"{evidence.words.one} on one point.",
        )
    elif lambd is not None and not 0.001 <= lambd <= 0.5:
        yield Finding(
            "note",
            f"λ = {lambd:g} is unusual",
            "0.05 is the recommended value; 0.01 to 0.1 works well.",
        )
    if batch is not None and batch < 64:
        yield Finding(
            "note",
            "The batches are small",
            f"SIGReg tests {batch} samples at a time and sees little but noise in them; at least "
            "128 are recommended.",
        )


def automatic_lambda(evidence: Evidence) -> Iterator[Finding]:
    """Where a lambda that was found while training ended."""
    lambd, share = evidence.lambd, evidence.sigreg_share
    if lambd is None:
        return
    at = "" if share is None else f", where SIGReg is {percent(share)} of the way to a point"
    detail = f"It ended at {number(lambd)}{at}; {percent(TARGET)} is what it aims at."
    if at_guard_rail(lambd):
        detail += " That is as far as it may go: try --lambd with a number beyond."
        yield Finding("warning", "λ ran into its guard-rail", detail)
    else:
        yield Finding("good", "λ was found while training", detail)


SAME_PICTURES = "All pictures are the same"


def pictures(evidence: Evidence) -> Iterator[Finding]:
    """Whether there is anything to tell apart."""
    if evidence.same_pictures:
        yield Finding(
            "problem",
            SAME_PICTURES,
            "Every picture of the sample has the same pixels, so there is nothing to tell apart: "
            "one point is all that an encoder can make of them.",
        )


def skipped_files(evidence: Evidence) -> Iterator[Finding]:
    """How many files could not be used."""
    run, data, many = evidence.run, evidence.images, evidence.words.many
    skipped = data.skipped or len(run.skipped)
    if skipped:
        total = skipped + (data.images or 0)
        yield Finding(
            "warning" if skipped > 0.05 * total else "note",
            f"{skipped:,} file{' was' if skipped == 1 else 's were'} skipped",
            f"{skipped:,} of {total:,} files could not be used; the reasons are listed below.",
        )
    if data.repeated:
        yield Finding(
            "warning",
            f"{data.repeated:,} held-out {many} are trained on too",
            f"{data.repeated:,} of {data.test or 0:,} held-out {many} are, byte for byte, {many} "
            f"that were trained on: scores on them say nothing of new {many}.",
        )
    if data.no_scores and not run.scores and data.classes:
        yield Finding(
            "note", "There are no scores", f"{data.no_scores[0].upper()}{data.no_scores[1:]}."
        )
