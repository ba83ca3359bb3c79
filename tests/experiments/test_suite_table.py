"""The suite's table: cells are resumable, readers are right, peers learn something."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightly")
pytest.importorskip("mlxtend")
pytest.importorskip("matplotlib")
FOLDER = Path(__file__).parents[2] / "experiments" / "suite"
sys.path.insert(0, str(FOLDER))
import importlib.util  # noqa: E402

import measures  # noqa: E402
import sets  # noqa: E402
import table  # noqa: E402

specification = importlib.util.spec_from_file_location("suite_run", FOLDER / "run.py")
assert specification is not None
assert specification.loader is not None
suite = importlib.util.module_from_spec(specification)
sys.modules["suite_run"] = suite  # where its dataclass looks for its own module
specification.loader.exec_module(suite)


def cell(name: str, method: str, linear: float, knn: float, seed: int = 0, **more) -> dict:
    still = method in suite.UNLEARNT
    common = {"set": name, "method": method, "minutes": 0.0 if still else 20.0, "seed": seed}
    return common | {"linear": linear, "knn": knn, "seconds": 1.0, "updates": 7} | more


def test_what_learns_nothing_is_measured_once_and_the_rest_for_each_minute_and_seed() -> None:
    config = suite.Config(only=("digits",), minutes=(5.0, 20.0), seeds=3)
    found = list(suite.cells(config))
    count = {m: sum(c[1] == m for c in found) for m in (*suite.UNLEARNT, suite.OURS, "dino")}
    assert count == {"pixels": 1, "pca": 1, "untrained": 3, "isojepa": 6, "dino": 6}
    assert len(set(found)) == len(found)


def test_the_table_holds_means_gains_and_the_time_to_beat_pixels(tmp_path: Path) -> None:
    cells = [
        cell("digits", "pixels", 80, 90),
        cell("digits", "pca", 81, 92),
        cell("digits", "isojepa", 90, 95, curve=[[1.0, 85.0], [4.0, 91.0]]),
        cell("digits", "isojepa", 92, 97, seed=1, curve=[[1.0, 85.0], [6.0, 94.0]]),
        cell("digits", "simclr", 91, 93),
        cell("faces", "pixels", 70, 60),
        cell("faces", "isojepa", 69, 59, curve=[[1.0, 50.0]]),
    ]
    (tmp_path / "cells").mkdir()
    for i, one in enumerate(cells):
        (tmp_path / "cells" / f"{i}.json").write_text(json.dumps(one))
    table.write(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert (
        "| digits | 80.0 / 90.0 | 81.0 / 92.0 | 91.0 ±1.0 / 96.0 ±1.0 | 91.0 / 93.0 | 6.0 min |"
        in text
    )
    assert "never |" in text
    assert "knn, over the best of what learns nothing: mean +1.5 points, worst -1.0 (faces)" in text
    assert "linear, over the best of lightly's four: mean +0.0 points, worst +0.0 (digits)" in text
    assert (tmp_path / "results.csv").read_text().count("\n") == 8
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_factors_that_are_linear_in_the_features_are_read_whole() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8))
    y = x @ rng.normal(size=(8, 3))
    splits = [measures.Images([], None, y[:400]), measures.Images([], None, y[400:])]
    found = measures.scores(x[:400], x[400:], *splits)
    assert found["linear"] == pytest.approx(100, abs=0.1)
    noise = measures.scores(rng.normal(size=(400, 8)), rng.normal(size=(200, 8)), *splits)
    assert noise["linear"] < 5


def test_separate_classes_are_read_whole_by_every_reader() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (np.eye(3)[y] * 20 + rng.normal(size=(300, 3))).astype(np.float32)
    splits = [measures.Images([], y[:200], None), measures.Images([], y[200:], None)]
    found = measures.scores(x[:200], x[200:], *splits)
    assert found == dict.fromkeys(("linear", "knn", "shot1", "shot5", "shot10"), 100.0)


@pytest.mark.parametrize(
    "method",
    ["simclr", *(pytest.param(m, marks=pytest.mark.slow) for m in ("lejepa", "vicreg", "dino"))],
)
def test_a_peer_changes_the_network_and_keeps_it_finite(method: str, tmp_path: Path) -> None:
    import peers

    train, _ = measures.read(sets.made("digits", tmp_path, 0.06))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    before = torch.cat([p.flatten() for p in network.parameters()]).clone()
    made = peers.train(method, network, 8, 16, train, minutes=0.05, seed=0)
    after = torch.cat([p.flatten() for p in network.parameters()])
    assert made > 0
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)


@pytest.mark.slow
def test_a_quick_run_fills_its_cells_and_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = f"--quick --only digits --out {tmp_path / 'out'} --home {tmp_path / 'sets'} "
    said += "--methods pixels untrained isojepa"
    arguments = ["run.py", *said.split()]
    monkeypatch.setattr(sys, "argv", arguments)
    suite.main()
    cells = sorted((tmp_path / "suite-quick" / "cells").glob("*.json"))
    assert len(cells) == 3
    monkeypatch.setattr(suite, "measure", lambda *_: pytest.fail("measured again"))
    suite.main()
