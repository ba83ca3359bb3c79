"""The comparisons of series and tables: their arithmetic, and that they run and go on."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "experiments" / "modalities"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(FOLDER))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return import_module(name)

    return load


def test_ranks_share_ties_and_leave_out_what_is_not_there(script) -> None:
    ranks = script("readers").ranks
    found = ranks({"a": [90.0, 80.0, np.nan], "b": [90.0, 70.0, 99.0], "c": [50.0, 90.0, 1.0]})
    assert found == {"a": (1.5 + 2) / 2, "b": (1.5 + 3) / 2, "c": 2.0}


def test_series_are_shortened_by_means_of_what_is_known(script) -> None:
    series = script("series")
    x = np.arange(300.0).reshape(1, 300, 1)
    x[0, 3:6] = np.nan
    short = series.shortened(x)
    assert short.shape == (1, 100, 1)
    assert short[0, 0, 0] == 1.0
    assert np.isnan(short[0, 1, 0])
    assert short[0, 2, 0] == 7.0
    whole = series.stretched(short)
    assert np.isfinite(whole).all()
    assert (whole[0, 0, 0], whole[0, -1, 0]) == (short[0, 0, 0], short[0, -1, 0])


def test_few_labels_of_each_class(script) -> None:
    y = np.array([0] * 50 + [1] * 3)
    shown = script("tables").few(y, 5, seed=0)
    assert sorted(y[shown]) == [0] * 5 + [1] * 3
    assert len(set(shown.tolist())) == 8


def test_a_comparison_runs_and_does_nothing_twice(script, tmp_path: Path) -> None:
    tables = script("tables")
    config = tables.Config(out=tmp_path, quick=True, sets=("iris",))
    text = tables.main(config)
    assert all(f"| {method} |" in text for method in tables.METHODS)
    assert "nan" not in text
    rows = (tmp_path / "tables.jsonl").read_text()
    assert tables.main(config) == text
    assert (tmp_path / "tables.jsonl").read_text() == rows
