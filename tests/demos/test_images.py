"""The demo, shortened: it must train, collapse on demand, score and report."""

import json
from pathlib import Path

from isojepa.demos.images import DemoConfig, image_demo
from isojepa.runs.metrics import read_metrics


def test_demo_learns_and_shows_a_collapse(tmp_path: Path) -> None:
    scores = image_demo(DemoConfig(out=tmp_path / "demo", steps=30, collapse_steps=40))
    assert scores["encoder"].linear > scores["untrained"].linear
    kept, lost = (read_metrics(tmp_path / "demo" / name)[-1] for name in ("run", "collapsed"))
    assert lost["loss"] < 0.05 < kept["loss"]
    assert lost["effective_rank"] < 0.5 * kept["effective_rank"]
    made = json.loads((tmp_path / "demo" / "run" / "config.json").read_text())
    assert (made["data"]["train"], made["data"]["test"]) == (1258, 539)
    page = (tmp_path / "demo" / "run" / "report.html").read_text()
    assert "collapsed" in page
    image_demo(
        DemoConfig(out=tmp_path / "demo", steps=2, collapse_steps=2)
    )  # once more, in its place
