"""Findings -> one verdict: what the samples are, why, and what to change."""

from collections.abc import Iterator

from isojepa.embeddings import findings
from isojepa.embeddings.measurement import Measurement
from isojepa.theme.findings import LEVELS, Finding, Verdict
from isojepa.theme.wording import listed

SUMMARIES: dict[str, str] = {
    "collapsed": "The samples have shrunk to a point.",
    "dimensionally collapsed": "The samples fill only a part of their dimensions.",
    "outliers": "A few rows lie far outside all others.",
    "clustered": "The samples fall into groups with gaps between them.",
    "heavy-tailed": "Far samples are more frequent than in a Gaussian.",
    "anisotropic": "Some directions have much more variance than others.",
    "skewed": "The samples are lopsided.",
    "light-tailed": "Far samples are rarer than in a Gaussian.",
    "not Gaussian": "The shape is not Gaussian, in a way that has no simple name.",
    "shifted": "A Gaussian shape, but its mean is not at the origin.",
    "off scale": "An isotropic Gaussian, but its standard deviation is not 1.",
    "duplicated rows": "Rows are repeated; but for that, nothing is wrong with them.",
    "nearly isotropic Gaussian": "Tests tell these samples from an isotropic Gaussian, by little.",
    "isotropic Gaussian": "Nothing beyond chance tells these samples from an isotropic Gaussian.",
}
"""Of each state of a finding, the gravest first."""
STATES = tuple(SUMMARIES)


def judge(measurement: Measurement) -> Verdict:
    """Weigh a measurement: every failure that is both certain and large enough to matter.

    The level is that of the finding behind the gravest state; good for an isotropic Gaussian.
    """
    found = list(_findings(measurement))
    if not any(f.state for f in found):
        found += findings.departure(measurement)
    found.sort(key=_gravity)
    states = list(dict.fromkeys(f.state for f in found if f.state)) or ["isotropic Gaussian"]
    levels = [f.level for f in found if f.state == states[0]]
    return Verdict(
        states=tuple(states),
        level=min(levels, key=LEVELS.index, default="good"),
        summary=_summary(measurement, states),
        remedies=tuple(f.remedy for f in found if f.state and f.remedy),
        findings=tuple(found),
    )


def _summary(measurement: Measurement, states: list[str]) -> str:
    shape, summary = measurement.shape, SUMMARIES[states[0]]
    if states[0] == "outliers" and not measurement.outliers:
        summary = "Some rows hold no-data values or an overflow; the rest is judged without them."
    if states[0] == "isotropic Gaussian" and shape.n <= shape.d:
        summary += f" But {shape.n:,} samples say little of {shape.d:,} dimensions."
    if len(states) > 1:
        summary += f" Also {listed(states[1:])}."
    return summary


def _gravity(finding: Finding) -> tuple[int, int]:
    state = len(STATES) if finding.state is None else STATES.index(finding.state)
    return LEVELS.index(finding.level), state


def _findings(e: Measurement) -> Iterator[Finding]:
    yield from findings.table(e)
    yield from findings.duplicates(e)
    collapsed = list(findings.collapse(e))
    yield from collapsed
    if collapsed:  # nothing else matters then
        return
    yield from findings.scale(e)
    yield from findings.rank(e)
    yield from findings.isotropy(e)
    yield from findings.shift(e)
    yield from findings.outliers(e)
    shapes = [*findings.gaps(e), *findings.symmetry(e), *findings.tails(e)]
    yield from shapes
    yield from findings.tests(e, named=bool(shapes) or len(e.outliers) > 0)
