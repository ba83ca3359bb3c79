"""Tar archives: what other programs wrote is read where it stands, and bad ones are refused."""

import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import webdataset
from PIL import Image

from isojepa.encoders.sources.fingerprints import fingerprint, with_fingerprints
from isojepa.encoders.sources.inputs import list_images
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_square
from isojepa.pixels.unreadable import Unreadable
from tests.encoders.sources.pictures import add, encoded, pixels, shards


def test_what_webdataset_wrote_is_read(tmp_path: Path) -> None:
    with webdataset.ShardWriter(f"{tmp_path}/train-%06d.tar", maxcount=4, verbose=0) as writer:
        for i in range(10):
            writer.write({"__key__": f"k{i:03}", "png": encoded(i), "cls": i % 2, "txt": "words"})
    listing = list_images(tmp_path / "train-{000000..000002}.tar")
    assert len(listing.names) == 10
    assert listing.names[5] == "train-000001.tar/k005.png"
    assert listing.class_names == ["0", "1"]
    assert listing.labels.tolist() == [i % 2 for i in range(10)]
    assert dict(listing.side_cars) == {".txt": 10}
    for i in (9, 0, 5):
        found = read_square(listing.item(i), 20, 1)
        np.testing.assert_array_equal(found.pixels[0], pixels(i))
    again = webdataset.WebDataset([str(p) for p in sorted(tmp_path.glob("*.tar"))],
                                  shardshuffle=False)  # fmt: skip
    ours = [listing.item(i).open("rb").read() for i in range(10)]
    assert [sample["png"] for sample in again] == ours


def test_a_picture_is_known_in_a_folder_and_in_an_archive(tmp_path: Path) -> None:
    pattern = shards(tmp_path / "shards", 5)
    (tmp_path / "x.png").write_bytes(encoded(3))
    prints = with_fingerprints(list_images(pattern)).prints
    assert prints[3] == fingerprint(tmp_path / "x.png")
    assert len(set(prints.tolist())) == 5


def test_patterns_name_the_same_files(tmp_path: Path) -> None:
    braces = shards(tmp_path / "a", 20)
    expected = list_images(braces).names
    for data in (
        tmp_path / "a", tmp_path / "a" / "part-*.tar", tmp_path / "a" / "part-00{0,1,2}.tar",
        tuple(sorted((tmp_path / "a").glob("*.tar"))),
    ):  # fmt: skip
        assert list_images(data).names == expected


def test_shards_named_val_are_held_out(tmp_path: Path) -> None:
    shards(tmp_path, 12, each=4)
    (tmp_path / "part-002.tar").rename(tmp_path / "set-val-002.tar")
    listing = list_images(tmp_path)
    assert listing.test.tolist() == [False] * 8 + [True] * 4
    assert any("held out" in note for note in listing.notes)


def test_a_packed_folder_keeps_its_classes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for i in range(8):
            part, name = "train" if i < 6 else "test", "ab"[i % 2]
            add(archive, f"./photos/{part}/{name}/{i}.png", encoded(i))
        add(archive, "./photos/.DS_Store", b"x")
    listing = list_images(tmp_path / "x.tar")
    assert listing.class_names == ["a", "b"]
    assert listing.test.sum() == 2
    assert listing.names[0] == "x.tar/photos/train/a/0.png"


LABELS = [
    ("json", b'{"label": 3}', "3"), ("json", b'{"class": "dog", "x": 1}', "dog"),
    ("cls", b"7\n", "7"),
    ("json", b"{", None), ("json", b"[1]", None), ("json", b'{"label": null}', None),
    ("cls", b"\xff\xfe", None), ("json", b"[" * 100_000, None), ("json", pickle.dumps(3), None),
]  # fmt: skip


@pytest.mark.parametrize(("end", "content", "label"), LABELS, ids=lambda x: str(x)[:20])
def test_labels_of_members(tmp_path: Path, end: str, content: bytes, label: str | None) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "a.b/1.png", encoded(1))
        add(archive, f"a.b/1.{end}", content)
    listing = list_images(tmp_path / "x.tar")
    assert listing.class_names == (None if label is None else [label])


def bad_tar(path: Path, *infos: tuple[str, bytes, dict]) -> Path:
    with tarfile.open(path, "w") as archive:
        add(archive, "0.png", encoded(0))
        for name, kind, more in infos:
            info = tarfile.TarInfo(name)
            info.type = kind
            for key, value in more.items():
                setattr(info, key, value)
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return path


@pytest.mark.parametrize(
    "name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "..\\evil.png"]
)
def test_names_that_lead_out_are_refused(tmp_path: Path, name: str) -> None:
    path = bad_tar(tmp_path / "x.tar", (name, tarfile.REGTYPE, {"size": 3}))
    with pytest.raises(
        UserError, match=r"x\.tar: the member .* leads out of the archive"
    ) as caught:
        list_images(path)
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.tar"]


def test_links_and_devices_are_named_and_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(encoded(5))
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)
    infos = [(f"{i}.png", kind, {"linkname": str(secret)}) for i, kind in enumerate(kinds, 1)]
    listing = list_images(bad_tar(tmp_path / "x.tar", *infos))
    assert listing.names == ["x.tar/0.png"]
    assert [name for name, _ in listing.unreachable] == [f"x.tar/{i}.png" for i in range(1, 5)]
    assert all("link or special file" in why for _, why in listing.unreachable)


def test_cut_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    shards(tmp_path, 3)
    path, whole = tmp_path / "part-000.tar", (tmp_path / "part-000.tar").read_bytes()
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-2]  # the last picture
    cases = {
        "cut short within": whole[: last.offset_data + 9],
        "cannot be read as a tar archive": b"garbage" * 300,
        "damaged: no header at byte": whole[: last.offset]
        + b"#" * 512
        + whole[last.offset + 512 :],
        "empty file": b"",
        "a compressed archive.*gunzip": b"\x1f\x8b" + bytes(99),
        "no picture in 1 tar archive": bytes(10240),
    }
    for words, content in cases.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            list_images(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(whole[: last.offset])  # cut between two members
    assert any("no end mark" in note for note in list_images(path).notes)


def test_a_shard_that_shrank_is_named_when_it_is_read(tmp_path: Path) -> None:
    listing = list_images(shards(tmp_path, 3))
    path = tmp_path / "part-000.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(Unreadable, match="shorter than it was"):
        listing.item(2)
    path.unlink()
    with pytest.raises(Unreadable, match="no such file"):
        listing.item(2)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [("part-{000..003}.tar", r"part-003\.tar: no such file"), ("no-*.tar", "no file is called so"),
     ("x-{0..999999999}.tar", "names 1,000,000,000 files"), ("part-000.rar", "no such folder")],
)  # fmt: skip
def test_missing_shards_are_named(tmp_path: Path, pattern: str, words: str) -> None:
    shards(tmp_path, 20)
    with pytest.raises(UserError, match=words):
        list_images(tmp_path / pattern)


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.place),)


def test_pickles_under_any_name_are_never_executed(tmp_path: Path) -> None:
    mark, evil = tmp_path / "executed", io.BytesIO()
    torch.save(Evil(mark), evil)
    for content in (evil.getvalue(), pickle.dumps(Evil(mark))):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for end in ("png", "pyd", "pickle", "cls", "json", "pt", "npy", "tif", "dcm"):
                add(archive, f"1.{end}", content)
            add(archive, "2.png", encoded(2))
        listing = list_images(tmp_path / "x.tar")
        for i, name in enumerate(listing.names):
            if not name.endswith("2.png"):
                with pytest.raises(Unreadable):
                    read_square(listing.item(i), 8, 1)
        for end in (".pt", ".parquet", ".arrow", ".npy", ".npz", ".tar", ".txt"):
            path = tmp_path / f"y{end}"
            path.write_bytes(content)
            with pytest.raises(UserError) as caught:
                list_images(path)
            assert "\n" not in str(caught.value)
    assert not mark.exists()
    torch.load(io.BytesIO(evil.getvalue()), weights_only=False)
    assert mark.exists()  # the trap would have worked


def test_a_damaged_picture_inside_is_the_only_one_lost(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add(archive, "1.png", encoded(1)[:60])
        buffer = io.BytesIO()
        deep = pixels(2).astype(np.uint16) * 256
        Image.fromarray(deep).save(buffer, "PNG")  # is read a second time for its lower bytes
        add(archive, "2.png", buffer.getvalue())
    listing = list_images(tmp_path / "x.tar")
    with pytest.raises(Unreadable, match="damaged or truncated"):
        read_square(listing.item(0), 8, 1)
    assert read_square(listing.item(1), 20, 1).info.peak == deep.max()
