"""The automatic lambda against fixed ones: every rule is run, and what is there is kept."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("mlxtend")


def load() -> ModuleType:
    path = Path(__file__).parents[2] / "experiments" / "automatic_lambda.py"
    specification = importlib.util.spec_from_file_location("automatic_lambda", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


module = load()


@pytest.mark.slow
def test_automatic_and_fixed_lambdas_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = module.main(module.Config(out=tmp_path, quick=True))
    assert {row["lambd"] for row in rows} >= {module.AUTO, module.QUANTILE, module.LAMBDAS[0]}
    assert "against the best fixed lambda" in capsys.readouterr().out
    monkeypatch.setattr(module, "trained", lambda _: pytest.fail("made again"))
    assert module.main(module.Config(out=tmp_path, quick=True)) == rows


def test_how_far_a_rule_is_behind() -> None:
    rows = [{"lambd": lambd, "accuracy": accuracy}
            for lambd, accuracy in ((0.1, 0.8), (0.1, 0.9), (0.5, 0.7), ("auto", 0.84),
                                    ("null quantile", 0.9))]  # fmt: skip
    assert module.behind(rows) == pytest.approx({"auto": -1, "null quantile": 5})
