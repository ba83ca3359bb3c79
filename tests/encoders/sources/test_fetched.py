"""Files at addresses: what was asked for is fetched once, and nothing else."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from isojepa.caches.folder import Uncacheable, caching
from isojepa.encoders.modalities.registry import modality_of
from isojepa.encoders.sources import fetched
from isojepa.encoders.sources.addresses import as_address
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.inputs import absolute, list_images, same, words
from isojepa.errors import UserError
from tests.encoders.sources.pictures import encoded, parquet, shards
from tests.encoders.sources.served import Server, serving

N = 20


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packed")
    shards(folder, N)
    parquet(folder / "x.parquet", N)
    return folder


@pytest.fixture
def server(packed: Path) -> Iterator[Server]:
    with serving(packed) as told:
        yield told


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(fetched, "PAUSE", 0.0)
    with caching(tmp_path / "cache"):
        yield tmp_path / "cache"


class Bucket(MemoryFileSystem):
    """A store in memory."""

    protocol = "s3"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("s3:/")


def places(server: Server) -> Path:
    return Path(f"{server.address}/part-{{000..002}}.tar")


def kept(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "fetched").glob("*/*"))


def test_what_is_at_addresses_is_what_lies_on_a_disk(server: Server, packed: Path) -> None:
    there, here = list_images(places(server)), list_images(packed / "part-{000..002}.tar")
    assert there.names == here.names
    assert there.class_names == here.class_names
    np.testing.assert_array_equal(there.labels, here.labels)
    prints = [with_fingerprints(x).prints for x in (there, here)]
    np.testing.assert_array_equal(*prints)
    assert there.item(3).open("rb").read() == encoded(3)
    both = list_images((Path(f"{server.address}/x.parquet"), packed / "part-000.tar"))
    assert len(both.names) == N + 9
    for told in server.sent:
        whole = (packed / told).stat().st_size
        assert server.sent[told] <= 2 * whole, "asked about, and fetched once"


def test_what_was_fetched_is_fetched_no_more(server: Server, packed: Path, cache: Path) -> None:
    list_images(places(server))
    files = kept(cache)
    times = {path: path.stat().st_mtime_ns for path in (cache / "fetched").glob("*/*.tar")}
    list_images(places(server))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    content = (packed / "part-001.tar").read_bytes()
    try:
        (packed / "part-001.tar").write_bytes((packed / "part-000.tar").read_bytes())
        assert list_images(places(server)).item(9).open("rb").read() == encoded(0)
    finally:
        (packed / "part-001.tar").write_bytes(content)
    changed = [path.name for path in times if path.stat().st_mtime_ns != times[path]]
    assert changed == ["part-001.tar"]
    assert kept(cache) == files == ["about.json", *(f"part-00{i}.tar" for i in range(3))]


def test_a_server_that_is_gone_leaves_what_was_fetched(
    server: Server, packed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    address = Path(f"{server.address}/part-000.tar")
    names = list_images(address).names
    moved = packed / "part-000.gone"
    (packed / "part-000.tar").rename(moved)
    try:
        assert list_images(address).names == names
    finally:
        moved.rename(packed / "part-000.tar")
    assert "what was fetched before is used" in caplog.text


@pytest.mark.parametrize("ranges", [True, False])
def test_what_broke_off_is_gone_on_with(server: Server, cache: Path, ranges: bool) -> None:
    size = (server.folder / "part-000.tar").stat().st_size
    server.at_most, server.ranges = size // 3, ranges
    address = Path(f"{server.address}/part-000.tar")
    if ranges:
        assert len(list_images(address).names) == 9
        return
    with pytest.raises(UserError, match=rf"ended after [\d,]+ of {size:,} bytes"):
        list_images(address)
    assert any(name.endswith(".part") for name in kept(cache))
    server.at_most = None
    assert len(list_images(address).names) == 9
    assert kept(cache) == ["about.json", "part-000.tar"]


def test_a_file_that_changes_while_it_is_fetched_is_refused(
    server: Server, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described = fetched.described

    def then_changed(address: str) -> object:
        found = described(address)
        os.utime(packed / "part-002.tar")
        return found

    monkeypatch.setattr(fetched, "described", then_changed)
    with pytest.raises(UserError, match="it was changed meanwhile"):
        list_images(Path(f"{server.address}/part-002.tar"))


def test_a_server_that_does_not_say_how_much_there_is(server: Server) -> None:
    server.lengths = False
    assert len(list_images(Path(f"{server.address}/part-000.tar")).names) == 9


def test_two_at_once_fetch_one_copy(server: Server, packed: Path, cache: Path) -> None:
    def one(_: int) -> int:
        with caching(cache):
            return len(list_images(places(server)).names)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(one, range(2))) == [N, N]
    size = (packed / "part-000.tar").stat().st_size
    assert server.sent["part-000.tar"] <= 3 * size


def test_stores_of_clouds_are_reached_through_their_clients(packed: Path) -> None:
    fsspec.register_implementation("s3", Bucket, clobber=True)
    for i in range(3):
        Bucket().pipe(f"/bucket/part-{i:03}.tar", (packed / f"part-{i:03}.tar").read_bytes())
    assert len(list_images(Path("s3://bucket/part-{000..002}.tar")).names) == N


WRONG = {
    "part-{000..009}.tar": r"part-003\.tar cannot be had \(HTTP Error 404: .*check the address",
    "gone.tar": r"gone\.tar cannot be had \(HTTP Error 404",
    "photos": r"photos: give addresses of files that end in \.tar, \.npy",
    "list.txt": "give addresses of files that end in",
    "*.tar": r"\*\.tar cannot be had",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_had_is_told_in_a_line(server: Server, name: str) -> None:
    with pytest.raises(UserError, match=WRONG[name]) as caught:
        list_images(Path(f"{server.address}/{name}"))
    assert "\n" not in str(caught.value)


def test_nobody_there_no_client_no_room_and_no_cache(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"cannot be had \(Connection refused\)"):
        list_images(Path(f"http://127.0.0.1:{port}/x.tar"))
    with pytest.raises(UserError, match=r"cannot be had .*gcsfs"):
        list_images(Path("gs://bucket/x.tar"))
    with caching(None, off=True), pytest.raises(UserError, match="leave out --no-cache"):
        list_images(places(server))
    monkeypatch.setenv("ISOJEPA_CACHE_GB", "0.00001")
    with pytest.raises(Uncacheable, match=r"3 files of http.* take 0\.0 GB, and the cache may"):
        list_images(places(server))


def test_a_path_that_was_an_address_stays_one() -> None:
    path = Path("https://host/a/part-{000..012}.tar?key=1")
    assert as_address(path) == "https://host/a/part-{000..012}.tar?key=1"
    assert as_address(Path("photos/https/x.tar")) is None
    assert absolute(path) == path
    assert same(path, Path(str(path)))
    assert not same(path, Path("https://other/x.tar"))
    assert words(path) == "https://host/a/part-{000..012}.tar?key=1"
    assert modality_of(Path("https://host/x.parquet")).name == "images"
