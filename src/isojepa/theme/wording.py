"""Numbers and lists as a reader wants to see them."""

import math
from collections.abc import Sequence


def number(value: float | int | None) -> str:
    """Three significant digits; an exponent only below 0.0001; a dash for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value != 0 and abs(value) < 1e-4:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPTS)}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def fixed(value: float | None, digits: int = 3) -> str:
    """So many decimals; a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | int | None) -> str:
    """A share in [0, 1] with one decimal, a no-break space before the sign; a dash for None."""
    return "–" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def chance(p: float) -> str:
    """A p-value with its relation: = 0.02, < 0.0001."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def duration(seconds: float | int | None) -> str:
    """43 s, 12 min, 3.5 h; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def lower_first(text: str) -> str:
    """The text with a small first letter."""
    return text[:1].lower() + text[1:]
