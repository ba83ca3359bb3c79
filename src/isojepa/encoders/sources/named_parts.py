"""Sources side by side: names that tell them apart, and which of them are test parts by name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from isojepa.boundaries import shown
from isojepa.encoders.sources.roles import role


def distinct(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart, with forward slashes."""
    parts = [path.absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]


def held_out_by_name(
    names: Sequence[str], counts: Sequence[int]
) -> tuple[Bool[np.ndarray, " n"] | None, list[str]]:
    """What is held out because it lies in a source called test, val and the like beside others.

    Args:
        names: of the sources.
        counts: images of each.

    Returns:
        True for these images, None if there are no such sources or no others; and what to say.
    """
    tests = [(r := role(name)) is not None and r.kind == "test" for name in names]
    if all(tests) or not any(tests):
        return None, []
    named = [shown(name) for name, is_test in zip(names, tests) if is_test]
    few = ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
    return np.repeat(tests, counts), [f"{few}: held out, being a test part by name"]
