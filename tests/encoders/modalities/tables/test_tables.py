"""Rows of numbers and categories: reading, encoding, views."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from isojepa.encoders.modalities.modality import UNSAID, Batch, Columns, Place, Source
from isojepa.encoders.modalities.registry import modality_of
from isojepa.encoders.modalities.tables.network import TableSpec
from isojepa.encoders.modalities.tables.read import READING, FoundRows, TableForm, settled_columns
from isojepa.encoders.modalities.tables.rows import TableSet, encoded, known, widths
from isojepa.encoders.modalities.tables.views import VIEWING, TableRecipe
from isojepa.encoders.sources.folder import Listing
from isojepa.errors import UserError
from isojepa.progress import untracked

TEXT = """name,height,colour,weight,when,label
ann,1.5,red,40,2026-01-01,x
bob,,blue,55,2026-01-02,y
cy,2.5,,70,2026-01-03,x
dee,1.0,red,,2026-01-04,y
"""
AS_NAMED = Columns("name", None, None)


def read(path: Path, columns: Columns = AS_NAMED) -> TableSet:
    source = READING.find(Place(path, columns=columns), untracked)
    form = TableForm(table=settled_columns(source.contents, lambda _: None))
    return READING.read(source, form, untracked)


@pytest.fixture
def data(tmp_path: Path) -> TableSet:
    (tmp_path / "t.csv").write_text(TEXT)
    return read(tmp_path / "t.csv")


def test_numbers_categories_and_what_is_missing(data: TableSet) -> None:
    assert [column.name for column in data.columns] == ["height", "colour", "weight"]
    assert data.columns[1].categories == ("blue", "red")
    assert data.categories[:, 0].tolist() == [1, 0, -1, 1]
    assert data.numbers[0].tolist() == [1.5, 40]
    assert data.numbers.isnan().tolist() == [
        [False, False], [True, False], [False, False], [False, True],
    ]  # fmt: skip
    assert data.listing.names == ["ann", "bob", "cy", "dee"]
    assert data.labels.tolist() == [0, 1, 0, 1]
    mean, std = data.statistics([0, 1, 2, 3])
    np.testing.assert_allclose(mean, [5 / 3, 55])
    np.testing.assert_allclose(std, [np.std([1.5, 2.5, 1.0]), np.std([40, 55, 70])])


def test_encoded_as_scikit_learn_scales_and_makes_one_hot() -> None:
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "a": rng.normal(3, 2, 50), "b": rng.uniform(size=50), "c": rng.choice(["p", "q", "r"], 50),
    })  # fmt: skip
    found = FoundRows([str(i) for i in range(50)], {
        "a": frame["a"].to_numpy(), "b": frame["b"].to_numpy(), "c": frame["c"].tolist(),
    })  # fmt: skip
    listing = Listing(Path("x"), found.names, None, None, None)
    form = TableForm(table=settled_columns(found, lambda _: None))
    data = READING.read(Source(listing, found), form, untracked)
    x = encoded(data.read(range(50)), data.columns, *data.statistics(range(50)))
    one_hot = OneHotEncoder(sparse_output=False)
    theirs = make_column_transformer((StandardScaler(), ["a", "b"]), (one_hot, ["c"]))
    expected = theirs.fit_transform(frame)
    expected[:, 2:] = (expected[:, 2:] - 1 / 3) * 3**0.5
    np.testing.assert_allclose(x, expected, atol=1e-5)
    assert widths(data.columns) == [1, 1, 3]


def test_what_is_missing_is_zero_and_outliers_are_squeezed(data: TableSet) -> None:
    rows = data.read(range(4))
    x = encoded(rows, data.columns, *data.statistics(range(4)))
    assert x[1, 0] == x[3, 1] == 0
    assert (x[2, 2:] == 0).all()
    assert known(rows).tolist() == [
        [True, True, True], [False, True, True], [True, True, False], [True, False, True],
    ]  # fmt: skip
    far = rows._replace(numbers=rows.numbers + torch.tensor([1e9, 0.0]))
    assert 5 < encoded(far, data.columns, *data.statistics(range(4)))[0, 0] < 30


def test_views_lack_whole_cells_and_say_so(data: TableSet) -> None:
    mean, std = data.statistics(range(4))
    spec = TableSpec(model="mlp_small", table=list(data.columns), mean=mean, std=std)
    batch = Batch(data.read(range(4)), None, 0, 4)
    settings = {"spec": spec, "seed": 0, "device": torch.device("cpu")}
    whole = torch.cat([encoded(batch.samples, spec.table, mean, std), known(batch.samples)], 1)
    plain = VIEWING.views(batch, 0, recipe=TableRecipe(n_views=2), **settings).large
    assert torch.equal(plain, whole.expand(2, -1, -1))
    recipe = TableRecipe(n_views=40, masked=0.4)
    x, kept = VIEWING.views(batch, 0, recipe=recipe, **settings).large.split([4, 3], -1)
    assert torch.equal(x, whole[:, :4] * kept.repeat_interleave(torch.tensor([1, 1, 2]), -1))
    there = known(batch.samples).float()
    assert (kept <= there).all()
    assert 0.4 < kept[:, there.bool()].mean() < 0.8
    noisy = VIEWING.views(batch, 0, recipe=replace(recipe, masked=0.0, noise=0.5), **settings).large
    assert torch.equal(noisy[..., 2:], whole[:, 2:].expand(40, -1, -1))
    assert abs((noisy - whole)[:, 0, :2].std().item() - 0.5) < 0.1


def test_new_categories_and_missing_columns(data: TableSet, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text("weight,colour,height\n40,green,1.5\n40,red,1.5\n")
    source = READING.find(Place(tmp_path / "new.csv"), untracked)
    form = TableForm(table=data.columns)
    other = READING.read(source, form, untracked)
    assert other.categories[:, 0].tolist() == [-1, 1]
    assert other.numbers[1].tolist() == [1.5, 40]
    assert "new categories" in other.notes[0]
    (tmp_path / "new.csv").write_text("weight,colour\n40,green\n")
    source = READING.find(Place(tmp_path / "new.csv"), untracked)
    with pytest.raises(UserError, match="no column 'height'"):
        READING.read(source, form, untracked)


def test_arrays_are_tables_too(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    np.savez(tmp_path / "t.npz", X=x, y=[0, 1, 0, 1, 1])
    assert modality_of(tmp_path / "t.npz").name == "tables"
    data = read(tmp_path / "t.npz", UNSAID)
    np.testing.assert_allclose(data.read([2, 0]).numbers, x[[2, 0]], rtol=1e-6)
    assert data.listing.class_names == ["0", "1"]


def test_a_table_of_paths_or_of_lists_is_none(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.png,x\n")
    assert modality_of(tmp_path / "t.csv").name == "images"


@pytest.mark.parametrize(
    ("text", "words"),
    [("label\nx\n", "no column to learn from"), ("a,label\n,x\n", "can be learnt from")],
)
def test_nothing_to_learn_from_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        read(tmp_path / "t.csv", UNSAID)
