"""The table over seeds reads the demo's scores."""

import runpy
from pathlib import Path

from isojepa.encoders.evaluation.results import FewShot, Scores

SCRIPT = Path(__file__).parents[2] / "experiments" / "demo_seeds.py"


def test_a_row_holds_mean_and_range() -> None:
    scores = [
        Scores(linear=0.9, knn=0.8, kernel=0.7, shots={1: FewShot(mean=0.5)}),
        Scores(linear=1.0, knn=0.8, kernel=0.9, shots={1: FewShot(mean=0.7)}),
    ]
    row = runpy.run_path(str(SCRIPT))["row"]("pixels", scores)
    assert [cell.strip() for cell in row.split("   ")[-4:]] == [
        "linear 95.0 [90.0, 100.0]",
        "knn 80.0 [80.0, 80.0]",
        "kernel 80.0 [70.0, 90.0]",
        "1-shot 60.0 [50.0, 70.0]",
    ]
