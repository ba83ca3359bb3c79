"""A diagnosis on the terminal."""

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from isojepa.embeddings.measurement import Measurement
from isojepa.pages.embeddings.page import shown_directions, target
from isojepa.theme.findings import Level, Verdict
from isojepa.theme.wording import number

COLOURS: dict[Level, str] = {"good": "green", "note": "blue", "warning": "yellow", "problem": "red"}


def screen_summary(m: Measurement, verdict: Verdict) -> RenderableType:
    """Verdict, figures, findings with what to change, and the worst directions."""
    colour = COLOURS[verdict.level]
    head = Text.assemble(
        (m.samples.name, "bold"),
        f"  {m.samples.n:,} samples of {m.samples.d:,} dimensions, compared with {target(m)}\n",
        (f"{verdict.state[:1].upper()}{verdict.state[1:]}.", f"bold {colour}"),
        f" {verdict.summary}",
    )
    return Group("", head, "", _figures(m), "", *_tests(m), *_findings(verdict), *_directions(m))


def _figures(m: Measurement) -> Table:
    s = m.spectrum
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("", "these samples", "isotropic Gaussian"):
        table.add_column(title, justify="left" if not title else "right")
    if s.d > 1:
        table.add_row("effective rank", f"{s.effective_rank:.1f}", f"{s.isotropic_rank:.1f}")
        table.add_row("RankMe", f"{s.rankme:.1f}", f"up to {min(s.n, s.d)}")
        if s.n > s.d:
            isotropic = number(s.isotropic_condition)
            table.add_row("condition number", number(s.condition_number), isotropic)
        if s.probe_variance == s.probe_variance:
            table.add_row("linear probe's variance", number(s.probe_variance), "1")
        narrow = s.probe_bias[1]
        if narrow.narrowest == narrow.narrowest:
            bias = (f"{100 * narrow.narrowest:.1f} %", f"{100 * narrow.isotropic:.1f} %")
            table.add_row("linear probe's bias, ridge 0.1", *bias)
    table.add_row("standard deviation", number(s.deviation), "any" if m.any_scale else "1")
    table.add_row("length of the mean, in these", number(s.shift), "0")
    return table


def _tests(m: Measurement) -> Iterator[RenderableType]:
    if m.tests is None:
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"tests of {m.tests.n:,} samples")
    table.add_column("asks for")
    for title in ("statistic", "Gaussian, 95 %", "p"):
        table.add_column(title, justify="right")
    for t in m.tests.tests:
        asks = "the shape" if t.asks == "shape" else target(m)
        colour = "green" if t.p_value > 0.05 else "yellow" if t.p_value > 0.01 else "red"
        figures = (number(t.test.statistic), t.usual_words)
        table.add_row(t.title, asks, *figures, Text(f"{t.p_value:.3g}", colour))
    yield table
    yield ""


def _findings(verdict: Verdict) -> Iterator[RenderableType]:
    for finding in verdict.findings:
        dot = ("●", COLOURS[finding.level])
        yield Text.assemble(dot, " ", (finding.title, "bold"), f"  {finding.detail}")
        if finding.remedy:
            yield Padding(Text.assemble(("→", "dim"), f" {finding.remedy}"), (0, 0, 0, 2))


def _directions(m: Measurement) -> Iterator[RenderableType]:
    shown = shown_directions(m)
    if not shown or m.search is None:
        return
    table = Table(
        title=f"Worst of {m.search.tried} directions, on {m.search.n:,} held-out samples",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
    )
    for title in ("", "mean", "dev.", "skew", "kurt.", "E.-P.", "p", "driven by rows"):
        table.add_column(title, justify="left" if title in ("", "driven by rows") else "right")
    for d in shown:
        table.add_row(
            d.title,
            f"{d.mean:.2f}",
            f"{d.deviation:.2f}",
            f"{d.skewness:.2f}",
            f"{d.kurtosis:.2f}",
            number(d.statistic),
            f"{d.p_value:.2g}",
            ", ".join(str(row) for row, _ in d.drivers[:2]),
        )
    yield ""
    yield table
