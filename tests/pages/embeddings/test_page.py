"""The verb from end to end, and its page as a browser without a network sees it."""

from pathlib import Path

import numpy as np
import pytest
import tyro

from isojepa.embeddings.measurement import measure
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from isojepa.pages.embeddings.diagnose import DiagnoseConfig, diagnose_file
from tests.embeddings.laws import clusters, gaussian, outliers

HOSTILE = "<img src=x onerror=alert(1)>$$x$$"


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def visit(browser, path: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.seen = []
    loud = ("error", "warning")
    page.on("console", lambda m: page.seen.append(m.text) if m.type in loud else None)
    page.on("pageerror", lambda error: page.seen.append(str(error)))
    page.on("request", lambda request: page.seen.append(request.url))
    page.goto(path.as_uri())
    page.wait_for_function(
        "typeof Bokeh === 'undefined' || (Bokeh.documents.length && Bokeh.documents[0].is_idle)"
    )
    return page


def test_the_page_shows_everything_and_fetches_nothing(browser, tmp_path: Path):
    header = ",".join(f'"{HOSTILE}{i}"' for i in range(5))
    x = outliers(np.random.default_rng(0), 300, 5)
    path = tmp_path / "embeddings $$.csv"
    np.savetxt(path, x, delimiter=",", header=header, comments="")
    verdict = diagnose_file(DiagnoseConfig(file=path))
    assert verdict.state == "outliers"
    page = visit(browser, tmp_path / "embeddings $$.csv.diagnosis.html")
    own = ("file:", "data:", "blob:")
    assert [text for text in page.seen if not text.startswith(own)] == []
    assert page.locator(".state").inner_text().lower() == "outliers"
    assert page.title() == "embeddings $$.csv · isojepa diagnosis"
    assert page.locator("img").count() == 0
    sizes = page.evaluate(
        """() => Bokeh.index.roots.filter((view) => view.model.type === "Figure").map((view) => {
             const canvas = view.canvas_view.primary.canvas;
             const ink = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
             return [view.el.getBoundingClientRect().width, ink.data.some((value) => value > 0)];
           })"""
    )
    cards = page.locator(".direction").count()
    assert 2 <= cards <= 6
    assert len(sizes) == 4 + 2 * cards
    assert all(width > 100 and ink for width, ink in sizes)
    assert "17" in page.locator("#rows").inner_text()
    for width in (390, 800, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("x", [np.ones((30, 3)), np.arange(30.0) % 7, np.eye(25)])
def test_odd_samples_still_make_a_page(x: np.ndarray, tmp_path: Path):
    np.save(tmp_path / "x.npy", x)
    verdict = diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy"))
    text = (tmp_path / "x.npy.diagnosis.html").read_text()
    assert verdict.summary in text
    assert "nan" not in verdict.summary
    assert len(text) < 3_000_000


def test_the_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    np.savez(tmp_path / "x.npz", a=clusters(np.random.default_rng(0), 300, 5), b=np.zeros((30, 2)))
    out = tmp_path / "page.html"
    arguments = [str(tmp_path / "x.npz"), "--key", "a", "--out", str(out)]
    assert diagnose_file(tyro.cli(DiagnoseConfig, args=arguments)).state == "clustered"
    shown = capsys.readouterr().err
    assert "Clustered." in shown
    assert "Worst of" in shown
    assert f"isojepa diagnose {tmp_path / 'x.npz'} --key a" in out.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_samples": 5}, "--max-samples must be at least 20"),
        ({"seed": -1}, "--seed"),
        ({"out": Path("/no/such/folder/page.html")}, "--out"),
    ],
)
def test_options_are_checked(options: dict, message: str, tmp_path: Path):
    np.save(tmp_path / "x.npy", gaussian(np.random.default_rng(0), 30, 2))
    with pytest.raises(UserError, match=message):
        diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy", **options))


def test_the_same_seed_gives_the_same_verdict():
    samples = from_array(gaussian(np.random.default_rng(0), 500, 5))
    first, second = (judge_samples(measure(samples, max_samples=300, n_null=19)) for _ in range(2))
    assert first == second


def test_null_distributions_are_kept_from_run_to_run(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.save(tmp_path / "x.npy", gaussian(np.random.default_rng(0), 61, 3))
    diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy"))
    assert len(list((tmp_path / "cache" / "isojepa").glob("null-*.npy"))) == 6


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).normal(size=(30, 8)),
        np.random.default_rng(0).normal(size=(30, 100)),
        np.outer(np.random.default_rng(0).normal(size=30), np.ones(100)),
    ],
    ids=["few rows", "fewer rows than columns", "one direction"],
)
def test_the_plots_of_few_rows_are_drawn(browser, x: np.ndarray, tmp_path: Path):
    """Directions are not searched then, and their figures have no place in the page."""
    np.save(tmp_path / "x.npy", x)
    diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy", out=tmp_path / "x.html"))
    page = visit(browser, tmp_path / "x.html")
    page.wait_for_function("document.querySelectorAll('.bk-Figure').length > 0")
    assert not [text for text in page.seen if "Error" in text]


def test_no_data_and_outliers_are_one_state():
    x = np.random.default_rng(0).normal(size=(500, 8))
    x[3, 2], x[9, 1] = -3.4e38, 400
    assert judge_samples(measure(from_array(x), test=False)).states == ("outliers",)
