"""The co-evolution experiment: its numbers against independent ones, and its smallest grid."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("matplotlib")
pytest.importorskip("gymnasium")
FOLDER = Path(__file__).parents[2] / "experiments" / "coevolution"
sys.path.insert(0, str(FOLDER))  # the scripts are run from there and import one another
import arms  # noqa: E402
import coevolve  # noqa: E402
import figures  # noqa: E402
import measuring  # noqa: E402


def test_the_mean_of_the_middle_half_and_its_interval() -> None:
    assert figures.iqm(np.array([0.0, 1, 2, 3, 100, 3, 2, 1])) == pytest.approx(2.0)
    x = list(np.random.default_rng(0).normal(5, 1, 40))
    found = figures.estimate(x)
    assert found.low < found.value < found.high
    middle = np.sort(x)[10:30]
    assert found.value == pytest.approx(middle.mean())
    assert found.high - found.low < 2 * stats.t.interval(0.95, 39, scale=stats.sem(x))[1] * 2
    assert "seeds" in str(figures.estimate([1.0, 2.0]))


def test_ridge_scores_are_scikit_learns() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    random = np.random.default_rng(0)
    x, x_test = random.normal(size=(60, 4)), random.normal(size=(50, 4))
    w = random.normal(size=(4, 2))
    y, y_test = (a @ w + random.normal(size=(len(a), 2)) for a in (x, x_test))
    mean, std = x.mean(0), x.std(0)
    model = linear_model.Ridge(alpha=measuring.RIDGE * 60).fit((x - mean) / std, y)
    assert measuring.ridge_r2(x, y, x_test, y_test) == pytest.approx(
        model.score((x_test - mean) / std, y_test), abs=1e-6
    )


def test_arms_differ_in_what_they_are_about_alone(tmp_path: Path) -> None:
    configs = {
        arm: arms.Cell(task="two-room-8", arm=arm, seed=0).main(tmp_path) for arm in arms.ARMS
    }
    of = {arm: (set(c.detach), c.lambd, c.prediction) for arm, c in configs.items()}
    assert of["B"] == ({"reward", "value", "policy"}, 0.09, 1.0)
    assert of["C"] == ({"policy"}, 0.09, 1.0)
    assert of["D"] == ({"policy"}, 0.0, 1.0)
    assert of["E"] == ({"policy"}, 0.0, 0.0)
    assert of["A"] == ({"reward", "value", "policy"}, 0.0, 0.0)  # frozen
    differing = {"detach", "lambd", "prediction", "out"}
    one, two = (
        {k: v for k, v in vars(configs[arm]).items() if k not in differing and k != "said"}
        for arm in ("B", "E")
    )
    assert one == two
    cell = arms.Cell(task="two-room-8", arm="A", seed=0)
    first, main = cell.first(tmp_path), cell.main(tmp_path)
    assert first is not None
    assert main.start_from == first.out
    both = first.env_steps - first.random_steps + main.env_steps - main.random_steps
    assert both == configs["B"].env_steps - configs["B"].random_steps


@pytest.mark.slow
def test_the_smallest_grid_ends_in_a_page_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    grid = coevolve.Grid(
        out=tmp_path / "runs", tasks=("cartpole-64",), arms=("A", "C"), seeds=1, quick=True,
        docs=docs,
    )  # fmt: skip
    coevolve.main(grid)
    rows = list(csv.DictReader((tmp_path / "runs" / "results.csv").open()))
    metrics = {row["metric"] for row in rows}
    assert {"test_return", "effective_rank", "probe_state", "probe_distractors"} <= metrics
    assert {"probe_state_over_time", "changed_return"} <= metrics
    assert "| return at the end |" in (docs / "coevolution.md").read_text()
    assert (docs / "images" / "coevolution" / "cartpole-64.png").is_file()

    def never(*_: object) -> None:
        raise AssertionError("a finished cell was run again")

    monkeypatch.setattr(coevolve, "run_cell", never)
    coevolve.main(grid)


def test_arm_a_keeps_its_representation_as_it_was(tmp_path: Path) -> None:
    """Frozen: no gradient and no decay reaches encoder or predictor."""
    import torch

    from isojepa.world import LearnConfig, learn, load_agent

    settings = arms.QUICK | {"env": "isojepa/CartPole-v1", "tensorboard": False}
    first = learn(LearnConfig(out=tmp_path / "first", **settings))
    then = learn(
        LearnConfig(
            out=tmp_path / "then", start_from=first, prediction=0.0, lambd=0.0, detach=arms.ALL,
            **settings,
        )
    )  # fmt: skip
    before, after = load_agent(first).world.state_dict(), load_agent(then).world.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
