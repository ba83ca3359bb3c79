"""`isojepa.diagnose` of arrays and tensors: what it takes, what it answers, how it shows itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

import isojepa
from isojepa.embeddings.samples import from_array
from isojepa.errors import UserError
from isojepa.pages.embeddings import diagnosis
from isojepa.pages.embeddings.diagnose import DiagnoseConfig, diagnose_file
from isojepa.pages.embeddings.diagnosis import Diagnosis
from tests.embeddings.laws import anisotropic, clusters, gaussian, point

X = anisotropic(np.random.default_rng(0), 200, 4).astype(np.float32)
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def answer() -> Diagnosis:
    return isojepa.diagnose(X)


def quick(z: np.ndarray | torch.Tensor, monkeypatch: pytest.MonkeyPatch, **options) -> Diagnosis:
    monkeypatch.setattr(
        diagnosis, "measure", lambda z, **given: measure(z, **given | {"test": False})
    )
    return isojepa.diagnose(z, **options)


measure = diagnosis.measure


def test_it_is_what_the_command_prints(
    answer: Diagnosis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    np.save(tmp_path / "x.npy", X)
    printed = diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy"))
    assert printed.verdict == answer.verdict
    assert printed.numbers == answer.numbers
    assert printed.p_values == answer.p_values
    shown = capsys.readouterr().err
    lines = str(answer).split("\n")
    assert lines[0].startswith("array  200 samples of 4 dimensions")
    assert all(line.strip() in shown for line in lines if line.startswith("effective rank"))
    assert "\x1b" not in str(answer)


def test_in_a_notebook_it_prints_the_same(answer: Diagnosis, monkeypatch: pytest.MonkeyPatch):
    plain = str(answer)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)  # rich then shows HTML instead
    assert str(answer) == plain


def test_its_attributes(answer: Diagnosis):
    assert answer.state == answer.states[0] == "anisotropic"
    assert answer.level in ("warning", "problem")
    assert any("stretched" in finding.title for finding in answer.findings)
    assert answer.remedies
    assert answer.numbers["condition_number"] == pytest.approx(np.linalg.cond(np.cov(X.T)), rel=0.3)
    assert set(answer.p_values) >= {
        "target: SIGReg, mean of directions",
        "shape: Mardia's skewness",
    }
    assert answer.p_values["target: SIGReg, mean of directions"] <= 0.05
    assert repr(answer) == "<Diagnosis of 200 samples of 4 dimensions: anisotropic, off scale>"
    assert answer.command == "isojepa.diagnose(array)"


@pytest.mark.parametrize(
    "z",
    [
        X,
        X.astype(np.float64),
        np.asfortranarray(X),
        np.ma.masked_array(X),
        torch.from_numpy(X),
        torch.from_numpy(X).requires_grad_(),
        torch.from_numpy(X).to_sparse(),
        torch.from_numpy(X.T.copy()).T,
    ],
    ids=["f4", "f8", "columns first", "masked", "tensor", "leaf", "sparse", "transposed"],
)
def test_arrays_and_tensors_of_one_content_are_one(
    z: np.ndarray | torch.Tensor, answer: Diagnosis, monkeypatch: pytest.MonkeyPatch
):
    found = quick(z, monkeypatch)
    assert found.states == answer.states
    assert found.numbers == pytest.approx(answer.numbers, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_read_as_they_are(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    z = torch.from_numpy(X).to(dtype)
    found, same = quick(z, monkeypatch), quick(z.double(), monkeypatch)
    assert found.numbers == pytest.approx(same.numbers, rel=1e-4)


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.arange(60).reshape(30, 2), "int64, where embeddings are real numbers"),
        (torch.ones(30, 2, dtype=torch.bool), "bool, where embeddings are real numbers"),
        (np.full((30, 2), "a"), "holds text"),
        (np.ones((30, 2), complex), "complex numbers"),
        (torch.ones(30, 2, dtype=torch.cfloat), "complex numbers"),
        (np.zeros((30, 2, 2)), r"shape \(30, 2, 2\), where \(n, d\) is needed"),
        (np.zeros((0, 4)), "no samples"),
        (np.zeros((5, 4)), "5 rows say little"),
        (np.where(np.eye(30) > 0, np.nan, 1.0), "30 of 30 rows hold NaN"),
    ],
)
def test_what_is_no_table_of_real_numbers_is_refused(z: np.ndarray, message: str):
    with pytest.raises(UserError, match=f"^codes: .*{message}"):
        isojepa.diagnose(z, name="codes")


@pytest.mark.parametrize("options", [{"max_samples": 5}, {"seed": -1}])
def test_options_are_checked(options: dict[str, int]):
    with pytest.raises(UserError, match="--" + next(iter(options)).replace("_", "-")):
        isojepa.diagnose(X, **options)


def test_options_reach_the_measurement(monkeypatch: pytest.MonkeyPatch):
    z = np.r_[0.01 * X, [[np.nan] * 4]]
    found = quick(
        z, monkeypatch, any_scale=True, drop_nonfinite=True, max_samples=50, seed=3, name="z"
    )
    assert "collapsed" not in found.states
    assert found.measurement.rows.nonfinite == 1
    assert len(found.measurement.rows.sample) <= 50
    assert found.command == (
        "isojepa.diagnose(z, any_scale=True, drop_nonfinite=True, max_samples=50, seed=3)"
    )


def test_the_page_is_saved(answer: Diagnosis, tmp_path: Path):
    path = answer.save(str(tmp_path / "page.html"))
    assert path == tmp_path / "page.html"
    assert "isojepa.diagnose(array)" in path.read_text()
    with pytest.raises(UserError, match="cannot be written"):
        answer.save(tmp_path / "no" / "page.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000])
def test_a_notebook_shows_it_in_its_own_colours(
    browser, answer: Diagnosis, scheme: str, width: int
):
    fragment = answer._repr_html_()
    assert len(fragment) < 40_000
    assert "http" not in fragment
    assert "<script" not in fragment
    ink, paper = ("#eee", "#111") if scheme == "dark" else ("#111", "#fff")
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_content(f'<body style="color:{ink};background:{paper}">{fragment}')
    assert page.locator(".state").inner_text().lower() == "anisotropic"
    colour = "el => getComputedStyle(el).color"
    rgb = "rgb(238, 238, 238)" if scheme == "dark" else "rgb(17, 17, 17)"
    assert page.locator(".isojepa-diagnosis li").first.evaluate(colour) == rgb
    assert page.locator("polyline").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    "z",
    [point, lambda rng, n, _: rng.standard_normal(n), lambda _, n, d: np.ones((n, d)), clusters],
    ids=["point", "one dimension", "constant", "clusters"],
)
def test_every_state_shows_itself(z, monkeypatch: pytest.MonkeyPatch):
    found = quick(z(np.random.default_rng(0), 60, 3), monkeypatch)
    assert found.summary in found._repr_html_()
    assert "nan" not in found._repr_html_()
    assert found.summary.split(".")[0] in str(found)


def test_names_are_text():
    answered = diagnosis.diagnose_samples(
        from_array(gaussian(np.random.default_rng(0), 30, 2), HOSTILE),
        any_scale=False, drop_nonfinite=False, max_samples=50, seed=0, command="",
    )  # fmt: skip
    assert "<img" not in answered._repr_html_()
