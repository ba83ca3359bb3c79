"""Files of series, in every form that they are kept in, and what is refused."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from isojepa.encoders.modalities.modality import UNSAID, Columns, Place
from isojepa.encoders.modalities.registry import modality_of
from isojepa.encoders.modalities.series.read import READING, SeriesForm
from isojepa.encoders.modalities.series.samples import SeriesSet
from isojepa.errors import UserError
from isojepa.progress import untracked

rng = np.random.default_rng(0)
VALUES = [rng.normal(size=(size, 2)).round(3) for size in (5, 9, 7, 6)]
WORDS = ["up", "down", "up", "down"]


def read(path: Path, columns: Columns = UNSAID, labels: Path | None = None) -> SeriesSet:
    source = READING.find(Place(path, labels, (), columns), untracked)
    form = SeriesForm(channels=source.contents.channels)
    return READING.read(source, form, untracked)


def long(path: Path, **names: str) -> Path:
    """Rows in disorder, one series in the midst of another."""
    one, time, label = (names.get(x, x) for x in ("id", "time", "label"))
    rows = [
        {one: f"s{i}", time: t, "a": a, "b": b, label: word}
        for i, (values, word) in enumerate(zip(VALUES, WORDS))
        for t, (a, b) in enumerate(values)
    ]
    order = np.random.default_rng(1).permutation(np.arange(1, len(rows)))
    table = pa.Table.from_pylist([rows[0], *(rows[i] for i in order)])
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return path


def cells(path: Path) -> Path:
    lists = {name: [v[:, j].tolist() for v in VALUES] for j, name in enumerate("ab")}
    pq.write_table(pa.table({"id": [f"s{i}" for i in range(4)], **lists, "label": WORDS}), path)
    return path


def arrays(path: Path) -> Path:
    x = np.full((4, 9, 2), np.nan)
    for row, values in zip(x, VALUES):
        row[: len(values)] = values
    lengths = [len(v) for v in VALUES]
    np.savez(path, X=x, lengths=lengths, y=WORDS, channels=["a", "b"])
    return path


def folder(path: Path) -> Path:
    for i, (values, word) in enumerate(zip(VALUES, WORDS)):
        place = path / word
        place.mkdir(parents=True, exist_ok=True)
        table = pa.table({"time": range(len(values)), "a": values[:, 0], "b": values[:, 1]})
        if i % 2:
            pa.csv.write_csv(table, place / f"{i}.csv")
        else:
            pq.write_table(table, place / f"{i}.parquet")
    return path


SOURCES = {
    "long.csv": long, "long.parquet": long, "cells.parquet": cells, "arrays.npz": arrays,
    "folder": folder,
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_every_form_gives_the_same_series(name: str, tmp_path: Path) -> None:
    path = SOURCES[name](tmp_path / name)
    assert modality_of(path).name == "series"
    data = read(path)
    assert data.channels == ("a", "b")
    assert not data.notes
    got = {}
    for i in range(4):
        values, lengths = data.read([i])
        got[values[0].mT.numpy().tobytes()] = data.listing.class_names[data.labels[i]]
        assert int(lengths) == values.shape[-1]
    expected = {v.astype(np.float32).tobytes(): word for v, word in zip(VALUES, WORDS)}
    assert got == expected
    assert len(set(data.listing.prints.tolist())) == 4


def test_wide_rows_are_series_of_one_channel_when_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text("label,t0,t1,t2,t3\nx,1,2,3,4\ny,5,6,,\n")
    data = read(tmp_path / "wide.csv")
    assert data.lengths.tolist() == [4, 2]
    assert data.flat[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert modality_of(tmp_path / "wide.csv").name == "tables"


def test_columns_of_other_names_are_named(tmp_path: Path) -> None:
    path = long(tmp_path / "x.parquet", id="ship", time="hour", label="kind")
    assert modality_of(path).name == "tables"
    columns = Columns("ship", "hour", "kind")
    assert modality_of(path, columns).name == "series"
    data = read(path, columns)
    assert data.listing.class_names == ["down", "up"]
    assert data.listing.names == ["s0", *data.listing.names[1:]]


def test_a_column_of_splits_and_a_table_of_labels(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    lines = [f"{i},{t},{t},{'train' if i < 2 else 'test'}" for i in range(3) for t in range(4)]
    path.write_text("id,time,v,split\n" + "\n".join(lines))
    (tmp_path / "labels.csv").write_text("path,label\n0,a\n1,b\n2,a\n")
    data = read(path, labels=tmp_path / "labels.csv")
    assert data.listing.test.tolist() == [False, False, True]
    assert data.listing.class_names == ["a", "b"]
    assert data.labels.tolist() == [0, 1, 0]


def test_gaps_and_infinite_values_are_unknown(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("id,time,v,w\n0,0,1,\n0,1,,\n0,2,inf,\n0,3,3,\n")
    data = read(path)
    assert data.missing
    assert data.flat[:, 0].isnan().tolist() == [False, True, True, False]
    assert any("'w' holds no value" in note for note in data.notes)
    mean, std = data.statistics([0])
    assert (mean[0], std[0]) == (2.0, 1.0)
    assert std[1] == 1.0


WRONG = {
    "no id": ("time,v\n1,2\n", "--id-column"),
    "text": ("id,time,v\n0,1,high\n", "'v' holds string"),
    "two labels": ("id,time,v,label\n0,1,2,a\n0,2,3,b\n", "series '0' has 2 values of 'label'"),
    "no id in a row": ("id,time,v\na,1,2\n,2,3\n", "row 1 has no 'id'"),
    "no values": ("id,time\n0,1\n", "no column of values"),
    "odd split": ("id,time,v,split\n0,1,2,monday\n", "'monday': use train and test"),
    "times": ("id,time,v\n0,noon,2\n", "'time' holds text"),
    "empty": ("id,time,v\n", "holds no rows"),
    "two of a name": ("id,id,v\n0,1,2\n", "two columns are named 'id'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_in_one_line(name: str, tmp_path: Path) -> None:
    text, words = WRONG[name]
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read(tmp_path / "s.csv")
    assert "s.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--id-column ship: .* has the columns 'id', 'time'"):
        read(long(tmp_path / "x.csv"), Columns("ship", None, None))


def test_an_encoder_asks_for_its_channels(tmp_path: Path) -> None:
    source = READING.find(Place(long(tmp_path / "x.csv")), untracked)
    turned = READING.read(source, SeriesForm(channels=("b",)), untracked)
    np.testing.assert_allclose(turned.read([0]).values[0, 0], VALUES[0][:, 1], rtol=1e-6)
    assert "'a'" in turned.notes[0]
    with pytest.raises(UserError, match="no channel 'c'"):
        READING.read(source, SeriesForm(channels=("a", "c")), untracked)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{}], object))
    with pytest.raises(UserError, match=r"x\.npy"):
        read(tmp_path / "x.npy")
