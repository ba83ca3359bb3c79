"""The comparison of regularisers: every one is run, and what is there is not made again."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mlxtend")


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "regularisers.py"
    specification = importlib.util.spec_from_file_location("regularisers", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_regulariser_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = load()
    rows = module.main(module.Config(out=tmp_path, quick=True))
    assert {row["name"] for row in rows} == set(module.NAMES)
    assert all(0 <= row["accuracy"] <= 1 and row["deviation"] > 0 for row in rows)
    assert "kernel Stein discrepancy" in capsys.readouterr().out
    monkeypatch.setattr(module, "trained", lambda _: pytest.fail("made again"))
    assert module.main(module.Config(out=tmp_path, quick=True)) == rows
