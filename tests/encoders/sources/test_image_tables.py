"""Parquet and Arrow files of pictures: what `datasets` wrote is read without it, row by row."""

import json
import os
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isojepa.encoders.modalities.registry import modality_of
from isojepa.encoders.sources.fingerprints import fingerprint, with_fingerprints
from isojepa.encoders.sources.inputs import list_images
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_square
from isojepa.pixels.unreadable import Unreadable
from tests.encoders.sources.pictures import CLASSES, encoded, features, parquet, pixels, table

datasets.disable_progress_bars()


def written_by_datasets(n: int, first: int = 0) -> datasets.Dataset:
    kinds = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=list(CLASSES))}
    )
    rows = range(first, first + n)
    images = [Image.fromarray(pixels(i)) for i in rows]
    return datasets.Dataset.from_dict({"image": images, "label": [i % 2 for i in rows]}, kinds)


def check(listing: Any, n: int, first: int = 0) -> None:
    """In any order, the pixels are those that were written."""
    assert listing.class_names == list(CLASSES)
    assert listing.labels.tolist() == [(first + i) % 2 for i in range(n)]
    for i in np.random.default_rng(0).permutation(n).tolist():
        found = read_square(listing.item(i), 20, 1)
        np.testing.assert_array_equal(found.pixels[0], pixels(first + i))


def test_what_datasets_saved_is_read(tmp_path: Path) -> None:
    made = written_by_datasets(9)
    made.save_to_disk(tmp_path / "saved", num_shards=2)
    check(list_images(tmp_path / "saved"), 9)
    made.to_parquet(tmp_path / "x.parquet")
    check(list_images(tmp_path / "x.parquet"), 9)
    check(list_images(sorted((tmp_path / "saved").glob("*.arrow"))[0]), 5)


def test_splits_of_a_saved_dictionary_are_the_split(tmp_path: Path) -> None:
    parts = {"train": written_by_datasets(6), "test": written_by_datasets(4, 6)}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    listing = list_images(tmp_path / "saved")
    assert listing.test.tolist() == [False] * 6 + [True] * 4
    check(listing, 10)


def test_parquet_files_of_a_hub_are_the_split(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", 10)
    parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", 4)
    listing = list_images(tmp_path / "data")
    assert listing.test.tolist() == [True] * 0 + [False] * 10 + [True] * 4
    assert listing.names[3] == "train-00000-of-00001.parquet/000003.png"
    assert modality_of(tmp_path / "data").name == "images"
    assert modality_of(tmp_path / "data" / "train-00000-of-00001.parquet").name == "images"


def test_a_picture_is_known_in_a_folder_and_in_a_table(tmp_path: Path) -> None:
    prints = with_fingerprints(list_images(parquet(tmp_path / "x.parquet", 5))).prints
    (tmp_path / "x.png").write_bytes(encoded(3))
    assert prints[3] == fingerprint(tmp_path / "x.png")


def test_few_row_groups_are_kept_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("isojepa.encoders.sources.image_tables.KEPT_BYTES", 1)
    listing = list_images(parquet(tmp_path / "x.parquet", 15, rows=4))
    check(listing, 15)
    assert len(listing.source.sources[0]._groups) == 1


def test_plain_columns_are_read(tmp_path: Path) -> None:
    cells = {"photo": [encoded(i) for i in range(4)], "species": ["fox", "owl", None, "fox"]}
    pq.write_table(pa.table(cells), tmp_path / "x.parquet")
    listing = list_images(tmp_path / "x.parquet")
    assert listing.class_names == ["fox", "owl"]
    assert listing.labels.tolist() == [0, 1, -1, 0]
    assert listing.names == [f"x.parquet/{i}" for i in range(4)]
    np.testing.assert_array_equal(read_square(listing.item(2), 20, 1).pixels[0], pixels(2))


def test_a_row_without_a_picture_is_named(tmp_path: Path) -> None:
    cells = pa.array([encoded(0), None, b"", b"words"], pa.binary())
    pq.write_table(pa.table({"image": cells}), tmp_path / "x.parquet")
    listing = list_images(tmp_path / "x.parquet")
    for i, words in ((1, "no picture in this row"), (2, "0 bytes"), (3, "not an image")):
        with pytest.raises(Unreadable, match=words):
            read_square(listing.item(i), 8, 1)


def test_unclear_labels_are_said_and_unused(tmp_path: Path) -> None:
    one = pa.array([1, 2])
    made = pa.table({"image": [encoded(0), encoded(1)], "class": one, "target": one})
    pq.write_table(made, tmp_path / "x.parquet")
    listing = list_images(tmp_path / "x.parquet")
    assert listing.labels is None
    assert any("several columns of classes (class, target)" in note for note in listing.notes)


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_extension_types_execute_nothing(tmp_path: Path) -> None:
    """Arrow once unpickled what `arrow.py_extension_type` holds on reading (CVE-2023-47248)."""
    mark = tmp_path / "executed"
    evil = pickle.dumps(Evil(mark))
    marks = {b"ARROW:extension:name": b"arrow.py_extension_type",
             b"ARROW:extension:metadata": evil}  # fmt: skip
    field = pa.field("image", pa.list_(pa.int32()), metadata=marks)
    made = pa.table([pa.array([[1]], pa.list_(pa.int32()))], pa.schema([field]))
    pq.write_table(made, tmp_path / "x.parquet")
    with (
        pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file,
        pa.ipc.new_stream(file, made.schema) as w,
    ):
        w.write_table(made)
    other = pa.field("image", pa.binary(), metadata=marks)
    made = pa.table([pa.array([encoded(0)], pa.binary())], pa.schema([other]))
    pq.write_table(made, tmp_path / "y.parquet")
    for name in ("x.parquet", "x.arrow"):
        with pytest.raises(UserError, match="no column of images"):
            list_images(tmp_path / name)
    assert read_square(list_images(tmp_path / "y.parquet").item(0), 8, 1).pixels.any()
    assert not mark.exists()
    pickle.loads(evil)
    assert mark.exists()  # the trap would have worked


def of_arrays() -> pa.Table:
    kind = datasets.Features({"image": datasets.Array2D((2, 2), "uint8")})
    return datasets.Dataset.from_dict({"image": [[[1, 2], [3, 4]]]}, kind).data.table


REFUSED = {
    "no image column": (
        lambda: pa.table({"x": [1.0], "y": ["a"]}),
        r"no column of images \(x: double",
    ),
    "several": (
        lambda: pa.table({"a": [b"x"], "b": [b"y"]}),
        r"several columns .*\(a, b\).*'image'",
    ),
    "extension type": (of_arrays, "no column of images .*extension type datasets"),
    "no rows": (lambda: table(0), "without rows"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_tables_are_refused_in_a_line(tmp_path: Path, name: str) -> None:
    make, words = REFUSED[name]
    pq.write_table(make(), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=words) as caught:
        list_images(tmp_path / "x.parquet")
    assert "\n" not in str(caught.value)


def test_cut_tables_are_refused(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "x.parquet", 5).read_bytes()
    made = table(5)
    with (
        pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file,
        pa.ipc.new_stream(file, made.schema) as w,
    ):
        w.write_table(made)
    stream = (tmp_path / "x.arrow").read_bytes()
    for name, content in {
        "a.parquet": whole[:-9], "b.parquet": b"PAR1" + bytes(99), "c.parquet": b"",
        "a.arrow": stream[: len(stream) // 2], "b.arrow": b"\xff" * 99,
        "c.arrow": b"FEA1" + bytes(99),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name.replace(".", r"\.")) as caught:
            list_images(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_saved_folders_lead_nowhere_else(tmp_path: Path) -> None:
    written_by_datasets(3).save_to_disk(tmp_path / "saved")
    state = tmp_path / "saved" / "state.json"
    for name, words in (
        ("../x.arrow", "as a part of itself"),
        ("gone.arrow", "gone.arrow is missing"),
    ):
        state.write_text(json.dumps({"_data_files": [{"filename": name}]}))
        with pytest.raises(UserError, match=words):
            list_images(tmp_path / "saved")
    state.write_text("{")
    with pytest.raises(UserError, match=r"state\.json"):
        list_images(tmp_path / "saved")


def test_classes_beyond_the_names_are_none(tmp_path: Path) -> None:
    made = pa.table({"image": [encoded(0)] * 3, "label": [-1, 1, 9]})
    pq.write_table(made.replace_schema_metadata(features()), tmp_path / "x.parquet")
    assert list_images(tmp_path / "x.parquet").labels.tolist() == [-1, 0, -1]
