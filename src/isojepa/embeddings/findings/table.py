"""The table itself: repeated rows, rows left out, rows taken for columns."""

from collections.abc import Iterator

from isojepa.embeddings.measurement import Measurement
from isojepa.theme.findings import Finding
from isojepa.theme.wording import listed, percent

TRANSPOSED = 10
"""Columns for each row from which rows and columns may be mixed up."""


def duplicates(m: Measurement) -> Iterator[Finding]:
    """Rows equal to an earlier row."""
    count, n = m.rows.duplicates.repeats, m.samples.n
    if not count:
        return
    groups = [
        " = ".join(f"{row:,}" for row in group[:4]) + (" = ..." if len(group) > 4 else "")
        for group in m.rows.duplicates.groups[:3]
    ]
    share = count / n
    yield Finding(
        "warning" if share > 0.01 else "note",
        f"{count:,} row{'s repeat' if count > 1 else ' repeats'} an earlier one",
        f"{percent(share)} of all rows, such as {listed(groups)}.",
        "Remove them before splitting into training and test sets: a reader would be tested on "
        "what it has seen. They also make every p-value here too small.",
        "duplicated rows" if share > 0.01 else None,
    )


def rows_read(m: Measurement) -> Iterator[Finding]:
    """What was read and what was left out."""
    for note in m.samples.notes:
        title, _, detail = note.partition(": ")
        yield Finding("note", title, detail)
    dropped = m.rows.nonfinite
    if dropped:
        yield Finding(
            "warning" if dropped > 0.01 * m.samples.n else "note",
            f"{dropped:,} row{'s are' if dropped > 1 else ' is'} not finite",
            f"NaN or infinite numbers, the first in row {m.rows.first_nonfinite:,}; left out of "
            "everything else.",
            "Find out where they come from: a division by zero, or an overflow in half precision.",
        )
    yield from _implausible(m)
    if m.spectrum.n > m.spectrum.d:
        return
    detail = (
        f"{m.spectrum.n:,} samples span at most {m.spectrum.n - 1} of {m.spectrum.d:,} dimensions: "
        "whatever concerns the narrowest directions cannot be measured."
    )
    if m.spectrum.n * TRANSPOSED <= m.spectrum.d:
        yield Finding(
            "warning",
            f"{m.spectrum.n:,} rows of {m.spectrum.d:,} columns: transposed?",
            f"A sample is a row here. {detail}",
            "If the columns are the samples, save x.T; if not, embed more data.",
        )
    else:
        yield Finding("note", "Fewer samples than dimensions", detail, "Embed more data.")


def _implausible(m: Measurement) -> Iterator[Finding]:
    """Rows with no-data values or overflow, which took no part in anything."""
    rows = m.rows.implausible
    if not rows:
        return
    listed_rows = [
        f"{row.value:.3g} in row {row.number:,}, {m.samples.column(row.column)}" for row in rows[:5]
    ]
    more = f" and {len(rows) - 5:,} more" if len(rows) > 5 else ""
    yield Finding(
        "warning",
        f"{len(rows):,} row{'s hold' if len(rows) > 1 else ' holds'} no-data values or an overflow",
        f"{'; '.join(listed_rows)}{more}: more than a million times as far from the median as is "
        "usual. Left out of everything else.",
        "Look at what went in: values that stand for missing ones, an overflow, a damaged file.",
        "outliers",
    )
