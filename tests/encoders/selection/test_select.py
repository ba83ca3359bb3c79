"""Selection without labels: against SciPy, what is trusted and why, small runs, wrong input."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats

from isojepa.cli import main
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.selection.agreement import LEAST, rank_correlation, select, trust
from isojepa.encoders.selection.criteria import ALPHA, Candidate
from isojepa.encoders.selection.select import SelectConfig, select_runs
from isojepa.errors import UserError
from isojepa.runs.metrics import read_metrics


def made(i: int, **changes: object) -> Candidate:
    values = {"loss": 0.1 * i, "rankme": 9.0 - i, "alpha_req": 1 + 0.1 * i, "lidar": 5.0 - i}
    values |= {"gaussianity": -1.0 * i, "lambd": 0.05, "accuracy": 0.9 - 0.1 * i}
    return Candidate(run=f"run-{i}", **(values | changes))


def test_the_trusted_criterion_ranks_and_collapsed_runs_come_last() -> None:
    found = select([made(2), made(0, collapsed="on a point"), made(1)])
    assert [one.run for one in found.ranked] == ["run-1", "run-2", "run-0"]
    assert found.trusted == "loss"


def test_what_is_trusted_follows_from_what_the_runs_share() -> None:
    runs = [made(i) for i in range(3)]
    assert trust(runs)[0] == "loss"
    other = [*runs, made(3, comparable=("elsewhere",))]
    assert trust(other)[0] == "lidar"
    assert trust([*other, made(4, lidar=None)])[0] == "rankme"
    assert trust([made(0), made(1, loss=None, lidar=None)])[0] == "rankme"


def test_correlations_are_scipys() -> None:
    losses, accuracies = (0.3, 0.1, 0.7, 0.2, 0.5), (0.8, 0.9, 0.5, 0.85, 0.86)
    runs = [made(i, loss=x, accuracy=y) for i, (x, y) in enumerate(zip(losses, accuracies))]
    expected = stats.spearmanr([-x for x in losses], accuracies).statistic
    assert rank_correlation(runs, "loss", "accuracy", "spearman") == pytest.approx(expected)
    tau = stats.kendalltau([-x for x in losses], [r.rankme for r in runs]).statistic
    assert select(runs).agreement["loss, rankme"] == pytest.approx(tau)


def test_a_correlation_needs_runs_that_differ() -> None:
    assert (
        rank_correlation([made(i) for i in range(LEAST - 1)], "loss", "rankme", "kendall") is None
    )
    same = [made(i, loss=0.2) for i in range(5)]
    assert rank_correlation(same, "loss", "rankme", "kendall") is None
    assert select([made(0)]).concordance is None


def test_alpha_req_is_best_at_1() -> None:
    found = select([replace(made(i, loss=None, lidar=None, rankme=None), alpha_req=a)
                    for i, a in enumerate((0.3, 1.1, 2.5))])  # fmt: skip
    rho = found.with_labels["alpha_req"]
    assert rho == pytest.approx(stats.spearmanr([-0.7, -0.1, -1.5], [0.9, 0.8, 0.7]).statistic)


@pytest.fixture(scope="module")
def runs(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short runs that differ in lambda, one of which finds its own."""
    folder = tmp_path_factory.mktemp("several")
    for name, lambd in (("a", 0.02), ("b", 0.2), ("c", "auto")):
        pretrain.train_encoder(
            PretrainConfig(
                data=pictures, out=folder / name, model="resnet_nano", image_size=16, batch_size=16,
                steps=8, log_every=2, projector_hidden=32, projection_dim=8, slices=16,
                device="cpu", tensorboard=False, lambd=lambd,
            )
        )  # fmt: skip
    return folder


def test_runs_are_measured_and_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = select_runs(SelectConfig(runs=(runs,)))
    said = capsys.readouterr().out
    assert {one.run for one in found.ranked} == {"a", "b", "c"}
    assert "trusted: " in said
    assert "With labels (Spearman with accuracy)" in said
    assert "Kendall" in said
    for one in found.ranked:
        last = read_metrics(runs / one.run)[-1]
        assert one.loss == pytest.approx(last["loss"] / last["lambd"] ** ALPHA)
        assert one.lidar >= 1
        assert one.rankme >= 1
        assert 0 < one.p_value <= 1
        assert one.accuracy == last["probe_accuracy"]


def test_json_of_the_command_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["select", str(runs / "a"), str(runs / "b"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {one["run"] for one in found["ranked"]} == {"a", "b"}
    assert found["trusted"] in {"loss", "lidar"}
    assert found["concordance"] is None


def test_wrong_input(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        select_runs(SelectConfig(runs=(tmp_path / "nowhere",)))
    with pytest.raises(UserError, match="1 run of an encoder; give at least two"):
        select_runs(SelectConfig(runs=(runs / "a",)))
    with pytest.raises(UserError, match="at least two runs"):
        SelectConfig(runs=())
    unfinished = tmp_path / "b"
    unfinished.mkdir()
    for file in ("config.json", "metrics.jsonl"):
        (unfinished / file).write_bytes((runs / "b" / file).read_bytes())
    with pytest.raises(UserError, match="has not ended"):
        select_runs(SelectConfig(runs=(runs / "a", unfinished)))
