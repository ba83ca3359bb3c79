"""The list of runs: each state from the files that make it, sorted, as JSON, damaged ones too."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from isojepa import cli
from isojepa.runs.overview import find_runs, row_of
from isojepa.runs.record import Divergence
from isojepa.runs.typed import write_result

NOW = 2e9
SETTINGS = {"projection_dim": 8, "steps": 4, "batch_size": 2, "log_every": 1}


def make(run: Path, *, lines: int = 4, loss: float = 1.0, seconds: float | None = 3.0,
         written: float = NOW, **record: Any) -> Path:  # fmt: skip
    run.mkdir(parents=True)
    made = {"config": SETTINGS, "data": {}, "started": "2026-01-01", **record}
    (run / "config.json").write_text(json.dumps(made | {"seconds": seconds}))
    line = {"loss": loss, "effective_rank": 2.5, "images_per_second": 1.0}
    text = "".join(json.dumps({"step": i + 1, **line}) + "\n" for i in range(lines))
    (run / "metrics.jsonl").write_text(text)
    for file in run.iterdir():
        os.utime(file, (written, written))
    return run


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("finished", {}),
        ("stopped", {"lines": 2}),
        ("running", {"lines": 2, "seconds": None}),
        ("running", {"lines": 2, "seconds": None, "written": NOW - 79}),
        ("interrupted", {"lines": 2, "seconds": None, "written": NOW - 81}),
        ("interrupted", {"lines": 0, "seconds": None, "written": NOW - 601}),
        ("diverged", {"loss": float("nan"), "seconds": None}),
        ("diverged", {"lines": 1, "seconds": None, "stopped": "infinite or NaN at update 2"}),
        ("damaged", {"config": 3}),
    ],
)
def test_state(tmp_path: Path, state: str, said: dict[str, Any]) -> None:
    row = row_of(make(tmp_path / "r", **said), tmp_path, NOW)
    assert row.state == state
    assert (row.why is None) == (state not in ("diverged", "damaged"))


@pytest.mark.parametrize(("lines", "state"), [(2, "diverged"), (4, "finished")])
def test_a_run_that_diverged_after_a_checkpoint(tmp_path: Path, lines: int, state: str) -> None:
    run = make(tmp_path / "r", lines=lines, seconds=None if lines < 4 else 3.0)
    found = Divergence(step=3, what="the loss", lr=0.1, grad_norms=(2.0,))
    write_result(run / "diverged.json", found)
    assert row_of(run, tmp_path, NOW).state == state


def test_scores_verdict_and_size(tmp_path: Path) -> None:
    run = make(tmp_path / "r")
    (run / "scores.json").write_text('{"encoder": {"linear": 0.75}}')
    (run / "report.html").write_text('<div class="verdict"><div class="state">healthy</div>')
    row = row_of(run, tmp_path, NOW)
    assert (row.kind, row.score, row.measure) == ("encoder", 0.75, "linear probe")
    assert (row.verdict, row.effective_rank) == ("healthy", 2.5)
    assert (row.updates, row.steps, row.seconds) == (4, 4, 3.0)
    assert row.size == sum(file.stat().st_size for file in run.iterdir())


def test_world_models_count_goals(tmp_path: Path) -> None:
    run = make(tmp_path / "r", config={"steps": 4})
    (run / "control.json").write_text('{"success": 0.5}')
    row = row_of(run, tmp_path, NOW)
    assert (row.kind, row.score, row.measure) == ("world model", 0.5, "goals reached")


def test_runs_are_found_and_other_folders_passed_over(tmp_path: Path) -> None:
    make(tmp_path / "b" / "deep")
    make(tmp_path / "a")
    (tmp_path / "a" / "encoder").mkdir()
    (tmp_path / "a" / "encoder" / "config.json").write_text('{"config": {}}')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"model": "resnet18"}')
    (tmp_path / "broken" / "checkpoints").mkdir(parents=True)
    (tmp_path / "broken" / "config.json").write_text("{")
    found = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)]
    assert found == ["a", "b/deep", "broken"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, score in (("low", 0.2), ("high", 0.9), ("none", None)):
        run = make(tmp_path / name)
        if score is not None:
            (run / "scores.json").write_text(json.dumps({"encoder": {"linear": score}}))
    (tmp_path / "none" / "config.json").write_text("{")
    assert cli.main(["runs", str(tmp_path), "--sort", "score", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in rows] == ["high", "low", "none"]
    assert rows[2]["state"] == "damaged"
    assert cli.main(["runs", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "90.0 %" in table
    assert "config.json" in table
    assert cli.main(["runs", str(tmp_path / "nowhere")]) == 2
