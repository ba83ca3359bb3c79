"""Values found out once, by keys; files known by their status, wherever their list comes from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from isojepa.caches.folder import caching
from isojepa.encoders.sources import fingerprints
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.items import Files, Joined
from isojepa.encoders.sources.remembered import remembered


def asked(path: Path | None, keys: list[int], **more: object) -> tuple[list[int], list[int]]:
    """The values of the keys, and the positions that were found out: ten times each key."""
    found: list[int] = []

    def find_out(positions: list[int]) -> Iterator[int]:
        found.extend(positions)
        return iter([10 * keys[i] for i in positions])

    return remembered(path, np.array(keys, np.uint64), find_out, **more).tolist(), found


def test_what_was_found_out_is_known_the_next_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table"
    assert asked(path, [5, 2, 9]) == ([50, 20, 90], [0, 1, 2])
    assert asked(path, [9, 5]) == ([90, 50], [])
    assert asked(path, [2, 7, 0, 5]) == ([20, 70, 0, 50], [1, 2])  # 0: no key
    assert asked(path, [2, 7, 0, 5]) == ([20, 70, 0, 50], [2])
    assert asked(None, [2]) == ([20], [0])
    assert asked(path, []) == ([], [])


def test_what_does_not_last_is_found_out_again(tmp_path: Path) -> None:
    last = np.array([True, False])
    assert asked(tmp_path / "t", [1, 2], lasting=lambda: last) == ([10, 20], [0, 1])
    assert asked(tmp_path / "t", [1, 2], lasting=lambda: last) == ([10, 20], [1])


def test_a_table_does_not_grow_for_ever(tmp_path: Path) -> None:
    for first in range(0, 1000, 10):
        asked(tmp_path / "t", list(range(first + 1, first + 11)))
    assert (tmp_path / "t").stat().st_size <= 20 * 16 + 4


@pytest.mark.parametrize("at", [0, 20, -1])
def test_a_damaged_table_is_none(tmp_path: Path, at: int) -> None:
    path = tmp_path / "t"
    asked(path, [1, 2, 3])
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)
    assert asked(path, [1, 2, 3]) == ([10, 20, 30], [0, 1, 2])
    path.write_bytes(path.read_bytes()[:-7])
    assert asked(path, [1, 2, 3]) == ([10, 20, 30], [0, 1, 2])
    path.write_bytes(b"")
    assert asked(path, [3]) == ([30], [0])


def test_a_place_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert asked(tmp_path / "file" / "table", [3]) == ([30], [0])


class Bytes:
    """A source without files of its own."""

    def item(self, place: int) -> Path:
        return self.paths[place]

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths


def test_files_of_any_source_are_known_by_their_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprints, "TICK", -(10**12))
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path in paths:
        path.write_text(path.name)
    source = Joined([(Files(paths[:2]), 2), (Bytes(paths[2:]), 2)])
    listing = Listing(tmp_path, [f"x/{i}" for i in range(4)], None, None, None, source=source)
    read: list[str] = []
    fingerprint = fingerprints.fingerprint
    monkeypatch.setattr(
        fingerprints, "fingerprint", lambda path: read.append(path.name) or fingerprint(path)
    )
    with caching(tmp_path / "cache"):
        first = with_fingerprints(listing).prints
        read.clear()
        again = with_fingerprints(listing.subset([3, 1, 2, 0])).prints
    assert sorted(read) == ["2.png", "3.png"]  # whose source does not say where they lie
    assert again.tolist() == first[[3, 1, 2, 0]].tolist()
