"""Every claim runs as small as can be, ends in a typed verdict, and its formulas are right."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import integrate, stats

pytest.importorskip("matplotlib")
pytest.importorskip("mlxtend")
FOLDER = Path(__file__).parents[2] / "experiments" / "claims"
sys.path.insert(0, str(FOLDER))  # the scripts are run from there and import one another
import claim  # noqa: E402
import run  # noqa: E402

VERDICTS = {"holds", "holds with conditions", "does not hold here"}


SLOW = {
    "probes",
    "local_readers",
    "collapse",
    "slices",
    "selection",
    "beyond",
    "one_recipe",
    "under_one_budget",
}
"""Their smallest runs take longer than the others'; `make test-all` has them."""


def script(name: str) -> ModuleType:
    return sys.modules.get(name) or __import__(name)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in run.NAMES]
)
def test_a_claim_ends_in_a_verdict_and_goes_on_where_it_stopped(name: str, tmp_path: Path) -> None:
    if name == "under_one_budget":
        pytest.importorskip("lightly")
    config = claim.Config(out=tmp_path, quick=True, seeds=1)
    result = claim.run(run.load(name), config)
    assert result.judgement.verdict in VERDICTS
    assert result.judgement.says
    assert all(number.what for number in result.judgement.numbers)
    assert claim.Result.from_json((tmp_path / f"{name}.json").read_text()) == result
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = (tmp_path / f"{name}.csv").read_bytes()
    again = claim.run(run.load(name), config)
    assert (tmp_path / f"{name}.csv").read_bytes() == rows, "nothing was left to measure"
    assert again.judgement.verdict == result.judgement.verdict


def test_repetitions_in_processes_of_their_own_find_the_same(tmp_path: Path) -> None:
    found = {}
    for engine in ("here", "processes"):
        config = claim.Config(out=tmp_path / engine, quick=True, seeds=2, engine=engine, workers=2)
        claim.run(run.load("moments"), config)
        found[engine] = claim.read_rows(config.folder / "moments.csv")
        for row in found[engine]:
            del row["seconds"]
        assert not (config.folder / "jobs").exists()
    assert found["here"] == found["processes"]


def test_every_claim_has_a_line_on_the_page_and_every_result_a_section() -> None:
    text = run.page(claim.RESULTS)
    lines = [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert [int(line.split("|")[1]) for line in lines] == list(range(1, 16))
    for name in run.NAMES:
        done = (claim.RESULTS / f"{name}.json").is_file()
        assert (f"images/claims/{name}.png" in text) == done
    assert run.PAGE.read_text().endswith(text), "run experiments/claims/run.py --page-only"


def test_numbers_are_read_back_as_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n,x,ok,word\n3,1e-3,True,ab\n")
    assert claim.read_rows(tmp_path / "a.csv") == [{"n": 3, "x": 1e-3, "ok": True, "word": "ab"}]


def test_an_interval_is_students() -> None:
    number = claim.over_seeds("x", [1.0, 2.0, 4.0])
    low, high = stats.t.interval(0.95, 2, np.mean([1, 2, 4]), stats.sem([1, 2, 4]))
    assert (number.low, number.high) == pytest.approx((low, high))


def test_atoms_share_moments_and_their_distance_is_the_integral() -> None:
    moments = script("moments")
    atoms, weights = moments.gauss_hermite_atoms(3)
    for k in range(6):
        assert weights @ atoms**k == pytest.approx(stats.norm.moment(k) if k else 1, abs=1e-12)
    assert weights @ atoms**6 != pytest.approx(15)
    error, variation = moments.twins(4)
    assert error < 1e-12
    assert variation > 0.1

    def gap(t: float) -> float:
        phi = (weights * np.exp(1j * t * atoms)).sum()
        return float(abs(phi - np.exp(-t * t / 2)) ** 2 * np.exp(-t * t / 2))

    assert moments.distance(atoms, weights) == pytest.approx(integrate.quad(gap, -12, 12)[0])


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_bound_of_the_gradient_is_reached_and_not_passed(n: int) -> None:
    gradients = script("gradients")
    x = torch.full((n,), 2**0.5 + 1, dtype=torch.float64)
    x[0] = 2**0.5
    pull = gradients.gradient("epps_pulley_whole_line", x)[0]
    assert float(pull.abs()) == pytest.approx(gradients.largest_gradient(n))
    rng = torch.Generator().manual_seed(n)
    for _ in range(50):
        x = 3 * torch.randn(n, generator=rng, dtype=torch.float64)
        pull = gradients.gradient("epps_pulley_whole_line", x).abs().max()
        assert float(pull) <= gradients.largest_gradient(n) + 1e-9


@pytest.mark.parametrize("s", [0.5, 1.0, 2.0])
def test_the_bias_of_a_minibatch_is_the_integral(s: float) -> None:
    apart, mean = script("minibatch").expected(s, 32)

    def weighted(f: object) -> float:
        return float(integrate.quad(lambda t: f(t) * np.exp(-t * t / 2), -15, 15)[0])  # type: ignore

    law = weighted(lambda t: (np.exp(-((s * t) ** 2) / 2) - np.exp(-t * t / 2)) ** 2)
    extra = weighted(lambda t: 1 - np.exp(-((s * t) ** 2))) / 32
    assert (apart, mean) == pytest.approx((law, law + extra), abs=1e-9)


def test_factors_have_unit_variance_and_the_r2_that_is_known() -> None:
    worlds = script("identifiability")
    assert worlds.expected("Gaussian") == pytest.approx(1, abs=1e-6)
    assert worlds.expected("uniform") == pytest.approx(3 / np.pi, abs=1e-4)
    for law in worlds.LAWS:
        _, z = worlds.World(law, 2, 0).pairs(40_000)
        assert z.var(0).numpy() == pytest.approx(1, abs=0.05)


def test_a_line_has_rank_one_and_a_whitened_cloud_all() -> None:
    rank = script("collapse").effective_rank
    x = np.random.default_rng(0).normal(size=(500, 6))
    assert rank(np.outer(x[:, 0], [1, 2, 3])) == pytest.approx(1, abs=1e-6)
    assert rank(np.linalg.qr(x - x.mean(0))[0]) == pytest.approx(6)


def test_an_x_has_no_point_near_the_axes_and_a_normal_cloud_half() -> None:
    shape = script("x_shape")
    rng = torch.Generator().manual_seed(0)
    assert shape.near_axes(shape.x_shape(5, rng)) == 0
    assert shape.near_axes(torch.randn(20_000, 5, generator=rng)) == pytest.approx(0.5, abs=0.02)


def test_in_the_plane_some_direction_shows_what_one_axis_hides() -> None:
    wold = script("cramer_wold")
    z = wold.draw_sample("one axis", 3, 8, torch.Generator().manual_seed(0))
    assert (z[..., 0].abs() == 1).all()
    found = wold.combined(z, torch.eye(8)[:, :1].repeat(1, max(wold.SLICES)))
    for how in ("mean", "max"):
        assert found[how, 4].numpy() == pytest.approx(found["the right one", 1].numpy(), rel=1e-4)


def test_images_are_two_real_sets_whose_parts_share_no_image() -> None:
    images = script("images")
    for name, side, count in (("digits", 8, 1797), ("mnist", 14, 5000)):
        data = images.read(name)
        assert data.side == side
        assert len(data.train) + len(data.test) == count
        assert set(data.train_labels) == set(range(10))
        seen = {x.numpy().tobytes() for x in data.train}
        assert sum(x.numpy().tobytes() in seen for x in data.test) <= 0.01 * len(data.test)
