"""The right verdict for every way to fail, and no verdict for samples that do not fail."""

from collections import Counter

import numpy as np
import pytest

from isojepa.embeddings.measurement import measure
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from tests.embeddings import laws
from tests.embeddings.laws import OUTLIERS, Draw, diagnose

SIZES = [(400, 6), (600, 16)]
SEEDS = (0, 1)
CASES: dict[str, tuple[Draw, str]] = {
    "gaussian": (laws.gaussian, "isotropic Gaussian"),
    "point": (laws.point, "collapsed"),
    "tiny": (laws.tiny, "collapsed"),
    "copies": (laws.copies, "dimensionally collapsed"),
    "anisotropic": (laws.anisotropic, "anisotropic"),
    "shifted": (laws.shifted, "shifted"),
    "student": (laws.student, "heavy-tailed"),
    "laplace": (laws.laplace, "heavy-tailed"),
    "clusters": (laws.clusters, "clustered"),
    "outliers": (laws.outliers, "outliers"),
    "repeated": (laws.repeated, "duplicated rows"),
    "lopsided": (laws.lopsided, "skewed"),
    "cube": (laws.cube, "light-tailed"),
    "small scale": (laws.small_scale, "off scale"),
}


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str, size: tuple[int, int]):
    draw, expected = CASES[name]
    for seed in SEEDS:
        _, verdict = diagnose(draw(np.random.default_rng(seed), *size))
        if expected == "skewed":  # an exponential law has heavy tails too
            assert expected in verdict.states
        else:
            assert verdict.state == expected, seed
        assert verdict.summary
        assert (verdict.level == "good") == (expected == "isotropic Gaussian")
        assert bool(verdict.remedies) == (expected != "isotropic Gaussian")


@pytest.mark.parametrize("size", [(60, 4), (400, 6), (500, 1), (150, 200)], ids=str)
def test_false_alarms_are_rare(size: tuple[int, int]):
    """About 1 % over all sizes: 2 of 12 would happen once in 150 such tests."""
    states = Counter(
        diagnose(laws.gaussian(np.random.default_rng(1000 + seed), *size))[1].state
        for seed in range(12)
    )
    assert states["isotropic Gaussian"] >= 11, states


def test_any_gaussian_is_a_gaussian_if_asked_for():
    x = 40 + 0.01 * laws.gaussian(np.random.default_rng(0), 400, 6)
    assert diagnose(x)[1].state == "collapsed"
    x = 0.3 * laws.gaussian(np.random.default_rng(0), 400, 6)
    assert diagnose(x)[1].state == "off scale"
    assert diagnose(x, any_scale=True)[1].state == "isotropic Gaussian"


def test_normalised_rows_are_judged_by_their_shape():
    x = laws.gaussian(np.random.default_rng(0), 400, 40)
    measurement, verdict = diagnose(x / np.linalg.norm(x, axis=1, keepdims=True))
    assert verdict.state == "isotropic Gaussian"
    assert measurement.common_length == pytest.approx(1)
    assert any(f.title == "All rows have the length 1" for f in verdict.findings)


def test_outliers_are_named_and_set_aside():
    measurement, verdict = diagnose(laws.outliers(np.random.default_rng(0), 400, 6))
    assert set(measurement.outliers) == set(OUTLIERS)
    assert list(measurement.outliers.values()) == sorted(
        measurement.outliers.values(), reverse=True
    )
    assert all(str(row) in verdict.findings[0].detail for row in OUTLIERS)
    assert verdict.states == ("outliers",)


def test_a_group_of_outliers_does_not_hide_itself():
    rng = np.random.default_rng(0)
    x = laws.gaussian(rng, 2000, 3)
    x[:12] += 60
    x[5] += 500
    measurement, verdict = diagnose(x, max_samples=400)
    assert set(measurement.outliers) == set(range(12))
    assert verdict.state == "outliers"


def test_all_failures_are_named():
    rng = np.random.default_rng(0)
    x = 0.5 * laws.student(rng, 600, 6) + 2
    x[:50] = x[50:100]
    _, verdict = diagnose(x)
    assert verdict.state == "heavy-tailed"
    assert set(verdict.states) == {"heavy-tailed", "shifted", "off scale", "duplicated rows"}
    assert all(word in verdict.summary for word in verdict.states[1:])


def test_findings_start_with_the_worst_and_explain_themselves():
    levels = ["problem", "warning", "note", "good"]
    _, verdict = diagnose(laws.clusters(np.random.default_rng(0), 400, 6))
    order = [levels.index(finding.level) for finding in verdict.findings]
    assert order == sorted(order)
    assert all(finding.detail for finding in verdict.findings)


def test_few_rows_and_many_dimensions_are_said():
    _, verdict = diagnose(laws.gaussian(np.random.default_rng(0), 50, 80))
    assert any(f.title == "Fewer samples than dimensions" for f in verdict.findings)
    assert verdict.state == "isotropic Gaussian"


def test_dead_columns_are_named():
    x = laws.gaussian(np.random.default_rng(0), 400, 6)
    x[:, 4] = 7
    measurement, verdict = diagnose(x)
    assert measurement.rows.constant.tolist() == [4]
    assert "dimensionally collapsed" in verdict.states
    assert any("column 4" in f.detail for f in verdict.findings)


@pytest.mark.parametrize("value", [1.7e308, 1e200, 1e154, -3.4e38, 1e20, 1e10, 1e9, 1e8])
def test_a_no_data_value_is_named_and_the_rest_judged_as_without_it(value: float):
    x = np.random.default_rng(0).normal(size=(500, 8))
    rest = measure(from_array(np.delete(x, 3, 0)), test=False)
    x[3, 2] = value
    found = measure(from_array(x), test=False)
    assert [(r.number, r.column, r.value) for r in found.rows.implausible] == [(3, 2, value)]
    assert judge_samples(found).states == ("outliers",)
    np.testing.assert_allclose(found.spectrum.eigenvalues, rest.spectrum.eigenvalues, rtol=1e-9)


@pytest.mark.parametrize("value", [1e6, 65504.0, -9999.0])
def test_a_far_number_is_an_outlier_and_the_rest_judged_as_without_it(value: float):
    x = np.random.default_rng(0).normal(size=(500, 8))
    rest = measure(from_array(np.delete(x, 3, 0)), test=False)
    x[3, 2] = value
    found = measure(from_array(x), test=False)
    assert judge_samples(found).states == ("outliers",)
    np.testing.assert_allclose(found.spectrum.eigenvalues, rest.spectrum.eigenvalues, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-200, 1e-42, 1e200])
def test_numbers_that_cannot_be_squared_are_refused(scale: float):
    x = np.random.default_rng(0).normal(size=(500, 8)) * scale
    with pytest.raises(UserError, match="of the order of 1e"):
        measure(from_array(x), test=False)


@pytest.mark.parametrize("scale", [1e-25, 1e-9, 1e9, 1e25])
def test_the_shape_does_not_depend_on_the_scale(scale: float):
    x = np.random.default_rng(0).normal(size=(500, 8)) * scale
    found = measure(from_array(x), test=False, any_scale=True)
    assert judge_samples(found).states == ("isotropic Gaussian",)
    assert not found.rows.implausible


@pytest.mark.parametrize(("n", "d"), [(21, 20), (65, 64), (101, 100), (64, 100)])
def test_as_few_isotropic_samples_as_dimensions_are_not_collapsed(n: int, d: int):
    for seed in range(8):
        x = np.random.default_rng(seed).normal(size=(n, d))
        assert judge_samples(measure(from_array(x), test=False)).state == "isotropic Gaussian"


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(0.08, 1, (5000, 8)),
        1.08 * np.random.default_rng(1).normal(size=(5000, 8)),
    ],
    ids=["mean 0.08", "deviation 1.08"],
)
def test_a_small_departure_is_said(x: np.ndarray):
    verdict = judge_samples(measure(from_array(x)))
    rejected = [t for t in measure(from_array(x)).tests.tests if t.p_value <= 0.005]
    assert (verdict.state == "nearly isotropic Gaussian") == bool(rejected)
    assert verdict.level in ("note", "good")


def test_many_columns_of_few_rows_take_the_rows_gram_matrix():
    x = np.random.default_rng(0).normal(size=(30, 6000)).astype("f4")
    verdict = judge_samples(measure(from_array(x), n_null=19))
    assert verdict.findings[0].title == "30 rows of 6,000 columns: transposed?"
    assert "say little" in verdict.summary


def test_zeros_with_one_overflow_are_constant():
    x = np.zeros((100, 4))
    x[3, 2] = 1e200
    found = measure(from_array(x), test=False)
    assert [row.number for row in found.rows.implausible] == [3]
    assert judge_samples(found).state == "collapsed"
