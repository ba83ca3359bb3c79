"""Each state from synthetic evidence, and the findings that matter."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from isojepa.encoders.evaluation.results import Scores
from isojepa.pages.encoder.compare import compare_runs
from isojepa.pages.encoder.evidence import Evidence, gather, trend
from isojepa.pages.encoder.verdict import judge_training
from isojepa.pages.run import Run, Sample
from isojepa.runs.checkpoints import Best
from isojepa.runs.record import RunRecord
from isojepa.theme.findings import Verdict

STEPS, K = 400, 32


def curve(start: float, end: float, speed: float, noise: float = 0.02) -> np.ndarray:
    t = np.arange(STEPS) / STEPS
    values = end + (start - end) * np.exp(-speed * t)
    return values * (1 + noise * np.random.default_rng(0).standard_normal(STEPS))


def make(
    projections: np.ndarray | None = None,
    *,
    lambd: float = 0.05,
    invariance: np.ndarray | None = None,
    sigreg: np.ndarray | None = None,
    probe: np.ndarray | None = None,
    scores: dict[str, Any] | None = None,
    batch_size: int = 128,
    data: dict[str, Any] | None = None,
    curves: bool = True,
    name: str = "run",
) -> Run:
    invariance = curve(0.4, 0.1, 15) if invariance is None else invariance
    sigreg = curve(30, 1.5, 15) if sigreg is None else sigreg
    loss = (1 - lambd) * invariance + lambd * sigreg
    columns = {"loss": loss, "invariance": invariance, "sigreg": sigreg}
    metrics = [
        {"step": i + 1} | {key: float(values[i]) for key, values in columns.items()}
        for i in range(STEPS)
    ]
    if probe is not None:
        every = STEPS // len(probe)
        for i, value in enumerate(probe):
            metrics[(i + 1) * every - 1]["probe_accuracy"] = float(value)
    sample = None
    if projections is not None:
        n = len(projections)
        embeddings = projections.astype(np.float32)
        thumbnails = np.zeros((n, 8, 8, 1), np.uint8)
        paths = np.array([f"{i}.png" for i in range(n)])
        sample = Sample(thumbnails, embeddings, embeddings, paths, None, ())
    return Run(
        path=Path(name),
        name=name,
        record=RunRecord(
            config={"lambd": lambd, "batch_size": batch_size, "steps": STEPS}, data=data or {}
        ),
        metrics=metrics if curves else [],
        scores=scores or {},
        sample=sample,
    )


def verdict(run: Run) -> Verdict:
    return judge_training(gather(run, test=False))


def titles(found: Verdict) -> dict[str, str]:
    return {finding.title: finding.level for finding in found.findings}


def scores(encoder: float, knn: float | None = None, **others: float) -> dict[str, Any]:
    accuracies = {"encoder": encoder, "pixels": 0.9, "pca": 0.9, "untrained": 0.8} | others
    table = {name: Scores(linear=a, knn=a, n_test=500) for name, a in accuracies.items()}
    table["encoder"] = replace(table["encoder"], knn=encoder if knn is None else knn)
    return table


def gaussian(n: int = 600, k: int = K) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, k))


def low_rank(rank: int, k: int = 128) -> np.ndarray:
    """As wide as SIGReg asks on average, in few directions."""
    x = gaussian(600, k) * 1e-3
    x[:, :rank] = gaussian(600, rank) * np.sqrt(k / rank)
    return x


POINT = {"lambd": 0.0, "sigreg": np.full(STEPS, 51.5), "invariance": curve(0.1, 1e-5, 30)}

CASES = {
    "healthy": (make(gaussian()), "healthy"),
    "no sample": (make(), "healthy"),
    "loss still falling": (make(gaussian(), invariance=curve(0.4, 0.1, 2)), "still improving"),
    "probe still rising": (make(gaussian(), probe=np.linspace(0.5, 0.9, 10)), "still improving"),
    "probe as noisy as its rise": (
        make(gaussian(), probe=0.9 + 0.03 * np.random.default_rng(1).standard_normal(20)),
        "healthy",
    ),
    "shrunk to a point": (make(0.007 * gaussian(), **POINT), "collapsed"),
    "a point exactly": (make(np.ones((50, K)), **POINT), "collapsed"),
    "a point, told by the curves alone": (make(**POINT), "collapsed"),
    "a point, though a probe can still read it": (
        make(0.007 * gaussian(), **POINT, scores=scores(0.95, 0.7)),
        "collapsed",
    ),
    "a point and a line that the loss likes": (
        make(0.007 * gaussian(), **POINT | {"invariance": curve(0.1, 0.01, 2)}),
        "collapsed",
    ),
    "one line": (make(low_rank(1), lambd=0.002), "collapsed"),
    "half shrunk": (
        make(0.3 * gaussian(), sigreg=curve(45, 36, 15)),  # 36 is what a spread of 0.3 scores
        "partly collapsed",
    ),
    "half shrunk, no curves": (make(0.3 * gaussian(), curves=False), "partly collapsed"),
    "narrow only since batch norm lags": (
        make(0.28 * low_rank(5, 64), sigreg=curve(30, 6.7, 15), scores=scores(0.95, 0.905)),
        "still improving",
    ),
    "very narrow since batch norm lags": (
        make(0.05 * gaussian(), sigreg=curve(30, 6.7, 15)),
        "still improving",
    ),
    "few directions, no scores": (make(low_rank(5)), "partly collapsed"),
    "few directions, probes no better than untrained": (
        make(low_rank(5), scores=scores(0.95, 0.5)),
        "partly collapsed",
    ),
    "few directions, fine probes": (make(low_rank(5), scores=scores(0.95)), "healthy"),
    "few directions, opening": (
        make(low_rank(5), invariance=curve(0.4, 0.1, 2)),
        "still improving",
    ),
    "one line, fine probes": (make(low_rank(1), scores=scores(0.95)), "healthy"),
    "infinite embeddings": (make(np.full((20, K), np.inf)), "diverged"),
    "loss is NaN": (make(gaussian(), invariance=np.full(STEPS, np.nan)), "diverged"),
    "nothing to judge": (make(curves=False), "not judged"),
    "no curves": (make(gaussian(), curves=False), "healthy"),
    "one sample": (make(gaussian(1), curves=False), "not judged"),
    "two dimensions": (make(gaussian(k=2)), "healthy"),
    "fewer samples than dimensions": (make(gaussian(20, 64)), "healthy"),
}


@pytest.mark.parametrize(("run", "state"), CASES.values(), ids=CASES.keys())
def test_states(run: Run, state: str):
    found = verdict(run)
    assert found.state == state
    assert found.summary
    assert "nan" not in found.why.lower()


def test_every_bad_state_says_what_to_change():
    for run, state in CASES.values():
        if state in ("collapsed", "partly collapsed", "still improving", "diverged"):
            assert verdict(run).remedies, state


def test_a_short_run_with_the_recommended_lambda():
    """As measured: 60 steps on digits, spread 0.8, 7 of 64 directions, k-NN behind the pixels."""
    run = make(0.8 * low_rank(7, 64), sigreg=curve(30, 5.4, 15), scores=scores(0.965, 0.92))
    assert verdict(run).state in ("healthy", "still improving")


def test_collapse_advises_sigreg_and_praises_nothing():
    found = verdict(make(0.007 * gaussian(), **POINT))
    assert found.remedies == ("Switch SIGReg on: --lambd 0.05.",)
    assert "good" not in titles(found).values()
    assert titles(found)["Nothing prevents collapse"] == "warning"


def test_a_lag_of_batch_norm_is_named():
    found = verdict(make(0.28 * gaussian(), sigreg=curve(30, 6.7, 15)))
    assert titles(found)["The projections are narrower than in training"] == "warning"
    assert "batch normalisation" in found.why
    assert any("--steps 800" in remedy for remedy in found.remedies)


def test_low_lambda_is_advised_up():
    assert "0.002" in verdict(make(low_rank(1), lambd=0.002)).remedies[0]
    opening = verdict(make(low_rank(5), lambd=0.005, scores=scores(0.95)))
    assert opening.state == "healthy"
    assert "0.005" in opening.remedies[0]


def test_findings_start_with_the_worst():
    levels = ["problem", "warning", "note", "good"]
    for run, _ in CASES.values():
        order = [levels.index(finding.level) for finding in verdict(run).findings]
        assert order == sorted(order)


@pytest.mark.parametrize(
    ("table", "title", "level"),
    [
        (scores(0.97), "The encoder beats every baseline", "good"),
        (scores(0.97, pixels=0.98), "The encoder is level with a baseline", "note"),
        (scores(0.85), "The encoder is worse than a baseline", "problem"),
        (scores(0.97, knn=0.8), "The encoder is worse than a baseline", "problem"),
    ],
)
def test_scores_against_baselines(table: dict[str, Any], title: str, level: str):
    assert titles(verdict(make(gaussian(), scores=table)))[title] == level


@pytest.mark.parametrize(
    "table", [scores(0.85), scores(0.97, knn=0.75), scores(0.97, knn=0.85, pixels=0.5, pca=0.5,
                                                           untrained=0.95)],
)  # fmt: skip
def test_where_a_baseline_wins_no_run_is_healthy(table: dict[str, Any]) -> None:
    found = verdict(make(gaussian(), scores=table))
    assert found.state == "worse than a baseline"
    assert found.level == "problem"
    assert found.summary.startswith("Do not use it yet; train longer (--steps 800)")
    assert any("--steps 800" in remedy for remedy in found.remedies)


def test_level_with_a_baseline_is_not_green() -> None:
    found = verdict(make(gaussian(), scores=scores(0.97, pixels=0.975)))
    assert (found.state, found.level) == ("level with a baseline", "note")
    assert "raw pixels by linear probe" in found.summary


def painted(projections: np.ndarray, colours: np.ndarray, shapes: np.ndarray) -> Run:
    """A run whose pictures are shapes (n, h, w) in [0, 1] of the given colours (n, 3)."""
    run = make(projections)
    assert run.sample is not None
    pixels = (255 * shapes[..., None] * colours[:, None, None]).round().astype(np.uint8)
    return replace(run, sample=run.sample._replace(thumbnails=pixels))


def test_without_labels_agreement_by_colour_alone_is_found() -> None:
    digits = load_digits()
    shapes, kinds = 0.2 + 0.8 * digits.images[:600] / 16, digits.target[:600]
    rng = np.random.default_rng(0)
    colours = rng.uniform(0.2, 1, (600, 3))
    by_colour = np.tile((colours - colours.mean(0)) / colours.std(0), (1, 8))
    found = verdict(painted(by_colour + 0.3 * gaussian(600, 24), colours, shapes))
    assert (found.state, found.level) == ("agrees by colour", "warning")
    assert "--colours vary" in found.summary
    assert titles(found)["Views agree by colours that mean nothing"] == "warning"
    assert verdict(painted(gaussian(600, 24), colours, shapes)).state == "healthy"
    own = rng.uniform(0.2, 1, (10, 3))[kinds]  # each kind of digit has a colour of its own
    by_kind = np.tile((own - own.mean(0)) / own.std(0), (1, 8))
    right = verdict(painted(by_kind + 0.3 * gaussian(600, 24), own, shapes))
    assert right.state == "healthy"
    assert titles(right)["Much of what was learnt is colour and contrast"] == "note"


def test_the_first_sentence_says_what_to_do() -> None:
    verbs = ("Use it", "Train longer", "Do not use it", "Go back", "Compare", "This folder")
    for run, _ in CASES.values():
        assert verdict(run).summary.startswith(verbs)


@pytest.mark.parametrize(
    ("options", "title", "level"),
    [
        ({"sigreg": curve(30, 1.1, 15)}, "SIGReg is near its floor", "good"),
        ({"sigreg": curve(30, 8, 15)}, "SIGReg is above its floor", "note"),
        ({"sigreg": curve(30, 25, 15)}, "SIGReg is far from its floor", "warning"),
        ({"lambd": 0.9}, "λ = 0.9 is unusual", "note"),
        ({"batch_size": 16}, "The batches are small", "note"),
        ({"data": {"images": 97, "skipped": 3}}, "3 files were skipped", "note"),
        ({"data": {"images": 9, "skipped": 1}}, "1 file was skipped", "warning"),
        (
            {"probe": [0.5, 0.9, 0.9, 0.9, 0.6]},
            "The linear probe has fallen from its best",
            "warning",
        ),
    ],
)
def test_single_findings(options: dict[str, Any], title: str, level: str):
    assert titles(verdict(make(gaussian(), **options)))[title] == level


def test_slices_are_reported_either_way():
    found = titles(judge_training(gather(make(gaussian(300, 4)))))
    assert found["300 samples cannot be told from a Gaussian"] == "good"
    found = titles(judge_training(gather(make(gaussian(300, 4) ** 3))))
    assert found["300 samples can be told from a Gaussian"] == "note"


class TestComparison:
    def gathered(self, run: Run) -> Evidence:
        return gather(run, test=False)

    def test_a_point_is_not_mistaken_for_a_loss_of_rank(self):
        healthy = self.gathered(make(gaussian(), name="ours"))
        words = compare_runs(
            healthy, self.gathered(make(0.007 * gaussian(), **POINT, name="other"))
        )
        assert "other (λ = 0)" in words
        assert "looks like success" in words
        assert "blind to scale" in words

    def test_a_line(self):
        healthy = self.gathered(make(gaussian()))
        words = compare_runs(healthy, self.gathered(make(low_rank(1), lambd=0.002)))
        assert "One direction is all that is left" in words
        assert "looks like success" not in words

    def test_nothing_is_said_of_collapse_where_there_is_none(self):
        healthy = self.gathered(make(gaussian()))
        words = compare_runs(healthy, healthy)
        assert "success" not in words
        assert "blind" not in words

    def test_no_curves(self):
        healthy = self.gathered(make(gaussian()))
        assert "no curves" in compare_runs(healthy, self.gathered(make(curves=False)))


def test_what_diagnose_finds_is_in_the_report():
    x = gaussian(400, 4)
    x[:200, 0] += 8
    x[:, 0] = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    assert titles(judge_training(gather(make(x))))["The samples fall into groups"] == "warning"
    x = gaussian(400, 4)
    x[7] *= 12
    assert titles(judge_training(gather(make(x))))["1 row lies far outside"] == "warning"


def watched(name: str, values: np.ndarray) -> Run:
    run = make(gaussian())
    every = STEPS // len(values)
    for i, value in enumerate(values):
        run.metrics[(i + 1) * every - 1][name] = float(value)
    return run


RISE_AND_FALL = np.concatenate([np.linspace(0.5, 0.95, 6), np.linspace(0.925, 0.85, 4)])
FALLING = {
    "linear probe": ("probe_accuracy", RISE_AND_FALL),
    "k-NN": ("knn_accuracy", RISE_AND_FALL),
    "effective rank": ("effective_rank", np.r_[np.linspace(5, 20, 6), np.linspace(16, 4, 4)]),
}


@pytest.mark.parametrize("name", FALLING)
def test_a_run_past_its_best_has_one_verdict(name: str):
    key, values = FALLING[name]
    found = verdict(watched(key, values))
    assert found.state == "past its best"
    assert titles(found)[f"The {name} has fallen from its best"] == "warning"
    assert "Training has settled" not in titles(found)
    assert "settled" not in found.summary
    assert "step 240" in found.why
    assert any("step 240" in remedy for remedy in found.remedies)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0.5, 0.9, 10),
        np.full(10, 0.9),
        0.9 + 0.03 * np.random.default_rng(3).standard_normal(20),
        0.9 - 0.01 * np.arange(10) / 9,
    ],
    ids=["rises", "stays", "noise", "a point less"],
)
def test_what_did_not_fall_is_not_called_so(values: np.ndarray):
    for key in ("probe_accuracy", "knn_accuracy"):
        found = verdict(watched(key, values))
        assert not [title for title in titles(found) if "fallen" in title]
        assert found.state in ("healthy", "still improving")


def test_the_checkpoint_to_go_back_to_is_named(tmp_path: Path):
    run = watched("probe_accuracy", RISE_AND_FALL)
    for step in (200, 300, 400):
        (tmp_path / "checkpoints" / f"step-{step:08d}").mkdir(parents=True)
    nearest = verdict(replace(run, path=tmp_path)).remedies
    assert "step-00000200" in nearest[0]
    kept = verdict(replace(run, path=tmp_path, best=Best(240, {"probe_accuracy": 0.95}))).remedies
    assert "step 240" in kept[0]
    assert "checkpoints/best" in kept[0]


def test_equal_pictures_are_named_instead_of_a_remedy_that_cannot_help():
    run = make(np.ones((50, K)), lambd=0.05, sigreg=np.full(STEPS, 51.5))
    found = verdict(run)
    assert titles(found)["All pictures are the same"] == "problem"
    assert "learning rate" not in " ".join(found.remedies)
    other = make(np.ones((50, K)), lambd=0.05, sigreg=np.full(STEPS, 51.5))
    other.sample.thumbnails[0] += 9
    assert "All pictures are the same" not in titles(verdict(other))


def test_trend_recovers_a_slope_in_the_last_quarter():
    steps = np.arange(400.0)
    values = np.where(steps < 300, 5.0, 5.0 - 0.01 * (steps - 300))
    fitted = trend((steps, values))
    assert fitted is not None
    assert fitted.change == pytest.approx(-0.99, abs=0.02)
    assert fitted.steps == 99
    sparse = trend((steps[::40], values[::40]))  # 10 points: the last 8, so more than a quarter
    assert sparse is not None
    assert sparse.steps == 280
    assert trend((steps[:5], values[:5])) is None
    assert trend((steps, np.full(400, np.nan))) is None


def test_a_run_cut_short_is_not_called_settled() -> None:
    run = make(gaussian())
    found = verdict(replace(run, metrics=run.metrics[: STEPS - 10]))
    assert found.state == "still improving"
    assert f"{STEPS - 10:,} of {STEPS:,} updates had been made" in found.why
