"""Whether a diagnosis fits is known before memory is taken."""

import re
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from isojepa import machine
from isojepa.embeddings.measurement import measure
from isojepa.embeddings.memory import bytes_needed
from isojepa.embeddings.samples import Samples, from_array
from isojepa.errors import UserError


def unread(n: int, d: int) -> Samples:
    def read(_: int) -> Iterator[np.ndarray]:
        raise AssertionError("read before memory was checked")

    return Samples(name="x.npy", n=n, d=d, dtype=np.dtype("f4"), read=read)


@pytest.mark.parametrize(
    ("n", "d", "gigabytes", "remedy"),
    [
        (20_000, 8_000, 4, "--max-samples"),
        (20_000, 8_000, 1, "columns"),
        (500_000, 200_000, 64, "columns"),
        (30, 100_000_000, 16, "columns"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy_that_does(
    n: int, d: int, gigabytes: int, remedy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(machine, "memory_bytes", lambda: gigabytes * 10**9)
    with pytest.raises(UserError, match=f"x.npy: {n:,} rows of {d:,} columns take") as refused:
        measure(unread(n, d), max_samples=8192)
    message = str(refused.value)
    assert "\n" not in message
    assert remedy in message
    if remedy == "columns":
        found = re.search(r"at most ([\d,]+) columns", message)
        assert found is not None
        d, rows = int(found[1].replace(",", "")), 1000
    else:
        found = re.search(r"--max-samples (\d+)", message)
        assert found is not None
        rows = int(found[1])
    assert 0.7 * gigabytes < bytes_needed(n, d, rows) / 1e9 <= gigabytes


@pytest.mark.parametrize(
    ("n", "d"), [pytest.param(2000, 300, marks=pytest.mark.slow), (300, 2000), (400, 399)]
)
def test_memory_taken_is_not_above_what_was_asked(n: int, d: int):
    x = np.random.default_rng(0).standard_normal((n, d))
    tracemalloc.start()
    measure(from_array(x), test=False)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < bytes_needed(n, d, 8192)
