"""Where caches are, how large they may become, what goes first, and who may write."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from isojepa.caches import folder as caches
from isojepa.caches.folder import (
    Uncacheable,
    cache_folder,
    caching,
    chosen_folder,
    delete,
    entries,
    limit_bytes,
    locked,
    make_room,
)
from isojepa.caches.overview import CacheConfig, manage_cache
from isojepa.errors import UserError


def entry(folder: Path, name: str, size: int, days: float, kind: str = "images") -> Path:
    """An entry of that size, last used so many days after the first of January 1970."""
    place = folder / kind / name
    place.mkdir(parents=True)
    (place / "squares").write_bytes(bytes([1]) * size)
    (place / "about.json").write_text('{"of": "/photos", "side": 8, "channels": 3}')
    for path in (place / "squares", place / "about.json", place):
        os.utime(path, (86400 * days,) * 2)
    return place


def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == Path(os.environ["ISOJEPA_CACHE"])
    monkeypatch.setenv("ISOJEPA_CACHE", "~/x")
    assert cache_folder() == Path.home() / "x"
    monkeypatch.delenv("ISOJEPA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "isojepa"
    monkeypatch.delenv("XDG_CACHE_HOME")
    for system, home in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr(sys, "platform", system)
        assert cache_folder() == Path.home() / home / "isojepa"


def test_what_is_asked_for_counts_inside_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with caching(tmp_path):
        assert chosen_folder() == tmp_path
        with caching(tmp_path, off=True):
            assert chosen_folder() is None
        with caching(None):
            assert chosen_folder() == cache_folder()
        assert chosen_folder() == tmp_path
    assert chosen_folder() == cache_folder()
    monkeypatch.setenv("ISOJEPA_CACHE_GB", "0")
    assert chosen_folder() is None


@pytest.mark.parametrize("said", ["much", "-1", "nan", "inf"])
def test_a_limit_is_a_number(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    assert limit_bytes() == 10**11
    monkeypatch.setenv("ISOJEPA_CACHE_GB", said)
    with pytest.raises(UserError, match=f"ISOJEPA_CACHE_GB={said}: give a number of gigabytes"):
        limit_bytes()


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, days in (("new", 9), ("old", 1), ("middle", 5), ("own", 0)):
        entry(tmp_path, name, 40_960, days)
    entry(tmp_path, "of_another_kind", 40_960, 0, kind="frames")
    assert [e.name for e in entries(tmp_path) if e.kind == "images"] == [
        "own", "old", "middle", "new",
    ]  # fmt: skip
    monkeypatch.setenv("ISOJEPA_CACHE_GB", "0.00014")
    make_room(tmp_path, "images", 30_000, "own", "things")
    assert {e.name for e in entries(tmp_path)} == {"own", "new", "of_another_kind"}
    with pytest.raises(Uncacheable, match=r"things take 0\.0 GB, and the cache may take"):
        make_room(tmp_path, "images", 130_000, "own", "things")
    assert len(entries(tmp_path)) == 3


def test_a_full_disk_takes_from_the_least_recently_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(tmp_path, "old", 40_960, 1)
    entry(tmp_path, "new", 40_960, 9)
    monkeypatch.setattr(
        caches.shutil, "disk_usage", lambda _: SimpleNamespace(free=caches.SPARE + 10_000)
    )
    make_room(tmp_path, "images", 40_000, "own", "things")
    assert [e.name for e in entries(tmp_path)] == ["new"]
    with pytest.raises(Uncacheable, match="to spare; free some"):
        make_room(tmp_path, "images", 80_000, "own", "things")
    assert [e.name for e in entries(tmp_path)] == ["new"]


def test_what_is_being_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = entry(tmp_path, "busy", 40_960, 1)
    with locked(place) as first:
        assert first
        with locked(place) as second:
            assert not second
        assert not delete(entries(tmp_path)[0])
        assert manage_cache(CacheConfig(cache=tmp_path, clear=True))[0].name == "busy"
        monkeypatch.setattr(
            caches.shutil, "disk_usage", lambda _: SimpleNamespace(free=caches.SPARE)
        )
        with pytest.raises(Uncacheable, match="is in use"):
            make_room(tmp_path, "images", 40_000, "own", "things")
    assert delete(entries(tmp_path)[0])
    assert not place.exists()


def test_the_list_and_clearing_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    entry(tmp_path, "old", 40_960, 1)
    (tmp_path / "frames").mkdir()
    for ending in (".frames", ".json"):
        (tmp_path / "frames" / f"two.room{ending}").write_text('{"source": "/two-room.h5"}')
    assert len(manage_cache(CacheConfig(cache=tmp_path))) == 2
    said = capsys.readouterr().out
    assert "2 entries of 0.00 GB" in said
    assert "8 px, colour" in said
    assert "/two-room.h5" in said
    assert [e.name for e in manage_cache(CacheConfig(cache=tmp_path, clear=True, unused=3.0))] == [
        "two.room"
    ]
    assert manage_cache(CacheConfig(cache=tmp_path, clear=True)) == []
    assert "1 entry of 0.00 GB deleted, 0 entries" in capsys.readouterr().out
    assert manage_cache(CacheConfig(cache=tmp_path)) == []
    with pytest.raises(UserError, match="no such folder"):
        manage_cache(CacheConfig(cache=tmp_path / "nowhere"))
    with pytest.raises(UserError, match="--unused goes with --clear"):
        CacheConfig(unused=3.0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Uncacheable, match="cannot be written"), locked(tmp_path / "x" / "y"):
        pass
