"""The page itself, as a browser without a network sees it."""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from isojepa.errors import UserError
from isojepa.pages.encoder.page import ReportConfig, report, write_encoder_page
from tests.pages.encoder.made_runs import HOSTILE, MakeRun


@pytest.fixture(scope="module")
def page_path(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report whose every name is hostile, beside a collapsed run."""
    folder = tmp_path_factory.mktemp("runs")
    ours = make_run(folder / "our <b>run<b> $$x$$", hostile=True)
    return write_encoder_page(ours, [make_run(folder / "collapsed", collapsed=True)])


class Visit:
    """An open page and everything it asked for or complained about."""

    def __init__(self, browser, path: Path) -> None:
        self.page = browser.new_page(viewport={"width": 1280, "height": 900})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        ready = (
            "typeof Bokeh !== 'undefined' && Bokeh.documents.length && Bokeh.documents[0].is_idle"
        )
        self.page.wait_for_function(ready)

    def _note(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def fetched(self) -> list[str]:
        return [url for url in self.requests if not url.startswith(("data:", "blob:"))]


@pytest.fixture(scope="module")
def visit(browser, page_path: Path) -> Visit:
    return Visit(browser, page_path)


def test_every_plot_is_drawn(visit: Visit):
    sizes = visit.page.evaluate(
        """() => Bokeh.index.roots.filter((view) => view.model.type === "Figure").map((view) => {
             const canvas = view.canvas_view.primary.canvas;
             const box = view.el.getBoundingClientRect();
             const ink = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
             return [box.width, box.height, ink.data.some((value) => value > 0)];
           })"""
    )
    assert len(sizes) == 15  # 6 curves, a spectrum, 2 slices, a map, 5 comparisons
    assert all(width > 150 and height > 150 and ink for width, height, ink in sizes)


def test_pointing_at_the_map_shows_the_picture(visit: Visit):
    page = visit.page
    page.locator("#map").scroll_into_view_if_needed()
    spot = page.evaluate(
        """() => {
             const view = Bokeh.index.roots.find((view) => view.model.name === "map");
             const source = view.model.renderers[0].data_source;
             const frame = view.frame, box = view.canvas_view.el.getBoundingClientRect();
             return [box.x + frame.x_scale.compute(source.data.x[0]),
                     box.y + frame.y_scale.compute(source.data.y[0]), source.data.path[0]];
           }"""
    )
    page.mouse.move(spot[0] - 2, spot[1] - 2)
    page.mouse.move(spot[0], spot[1])
    picture = page.locator(".thumbnail").first
    picture.wait_for(state="visible", timeout=3000)
    box = picture.bounding_box()
    assert (box["width"], box["height"]) == (96, 96)
    style = picture.evaluate("(element) => ({...getComputedStyle(element)})")
    background = picture.evaluate("(element) => getComputedStyle(element).backgroundImage")
    assert background.startswith('url("data:image/png;base64,')
    assert style["imageRendering"] == "pixelated"
    shown = page.locator(".path").all_inner_texts()
    assert any(text.startswith(HOSTILE[:40]) for text in shown)
    assert page.locator(".name").first.inner_text().startswith(HOSTILE[:40])


def test_hostile_names_are_text(visit: Visit):
    page = visit.page
    assert page.title() == "our <b>run<b> $$x$$ · isojepa report"
    assert page.locator("h1").inner_text() == "our <b>run<b> $$x$$"
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("h1 b").count() == 0
    assert HOSTILE in page.locator("pre").inner_text()
    skipped = page.locator("details", has_text="skipped file")
    skipped.locator("summary").click()
    assert HOSTILE in skipped.inner_text()


def test_neighbours_show_pictures_and_who_disagrees(visit: Visit):
    assert visit.page.locator(".neighbourhood").count() == 10
    assert visit.page.locator(".neighbourhood .picture").count() == 90
    marked = visit.page.locator(".agrees").count() + visit.page.locator(".disagrees").count()
    assert marked == 80
    first = visit.page.locator(".neighbourhood .picture").first
    assert first.evaluate("(element) => getComputedStyle(element).backgroundImage") != "none"


def test_verdict_and_comparison_are_in_words(visit: Visit):
    assert visit.page.locator(".state").inner_text().lower() == "healthy"
    assert "looks like success" in visit.page.locator(".words").inner_text()
    assert visit.page.locator("#comparison .chip").all_inner_texts() == ["healthy", "collapsed"]
    best = visit.page.locator(".scores tbody tr").first.locator(".best")
    assert best.count() == 6


def test_pointing_at_a_curve_names_run_and_value(visit: Visit):
    plot = visit.page.locator("#comparison .plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    for x in (0.5, 0.51):
        visit.page.mouse.move(box["x"] + x * box["width"], box["y"] + box["height"] / 2)
    visit.page.wait_for_timeout(300)
    shown = [
        text
        for text in visit.page.locator(".bk-tooltip-content").all_inner_texts()
        if "step" in text
    ]
    assert any("our <b>run<b> $$x$$" in text for text in shown)
    assert any("collapsed" in text for text in shown)


def test_print_keeps_the_layout_and_takes_light_colours(visit: Visit):
    boxes = (".verdict", ".facts", ".card", ".neighbourhood", ".words", ".summary", ".scores")
    style = """(names) => names.map((name) => {
        const style = getComputedStyle(document.querySelector(name));
        return [name, style.display, style.fontSize, style.flexWrap, style.columns];
    })"""
    on_screen = visit.page.evaluate(style, list(boxes))
    visit.page.emulate_media(media="print", color_scheme="dark")
    try:
        assert visit.page.evaluate(style, list(boxes)) == on_screen
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
        assert not visit.page.locator("nav").is_visible()
    finally:
        visit.page.emulate_media(media="screen", color_scheme="light")


def test_nothing_is_fetched_and_nothing_complains(visit: Visit, page_path: Path):
    visit.page.wait_for_timeout(300)
    assert visit.fetched() == [page_path.as_uri()]
    assert visit.complaints == []


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_is_not_wider_than_the_window(visit: Visit, width: int):
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    widest = "Math.max(...Bokeh.index.roots.map((view) => view.el.getBoundingClientRect().right))"
    assert visit.page.evaluate(widest) <= width


def test_a_bare_folder_still_makes_a_page(browser, tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    path = write_encoder_page(tmp_path)
    page = browser.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(path.as_uri())
    text = page.locator("main").inner_text()
    assert "not judged" in text.lower()
    assert "scores.json (scores)" in text
    assert page.locator("section").count() == 2
    assert complaints == []


# Without a browser


@pytest.mark.parametrize(
    "missing", [("sample.npz",), ("metrics.jsonl", "scores.json", "views.png")]
)
def test_any_part_may_be_missing(make_run: MakeRun, tmp_path: Path, missing: tuple[str, ...]):
    folder = make_run(tmp_path / "run")
    for name in missing:
        (folder / name).unlink()
    text = write_encoder_page(folder).read_text(encoding="utf-8")
    assert all(name in text for name in missing)


def test_the_page_is_small_and_quick(make_run: MakeRun, tmp_path: Path):
    folder = make_run(tmp_path / "run")
    rng = np.random.default_rng(0)
    n, d = 1000, 128
    np.savez(
        folder / "sample.npz",
        thumbnails=rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8),
        embeddings=rng.standard_normal((n, d), dtype=np.float32),
        projections=rng.standard_normal((n, d), dtype=np.float32),
        paths=np.array([f"{i}.png" for i in range(n)]),
    )
    start = time.process_time()
    path = write_encoder_page(folder)
    assert time.process_time() - start < 10
    assert path.stat().st_size < 6_000_000


def test_samples_of_every_odd_shape(make_run: MakeRun, tmp_path: Path, digits):
    folder = make_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()  # the curves' figures take time
    for n in (0, 1, 2, 9):
        content = {key: value[:n] for key, value in digits.items()}
        np.savez(folder / "sample.npz", **content, paths=np.array([f"{i}" for i in range(n)], "U9"))
        assert write_encoder_page(folder).is_file()
    content = {key: value[:20] for key, value in digits.items()}
    content["projections"] = np.full((20, 4), np.nan, np.float32)
    np.savez(folder / "sample.npz", **content, paths=np.array([f"{i}" for i in range(20)]))
    assert '<div class="state">diverged</div>' in write_encoder_page(folder).read_text(
        encoding="utf-8"
    )


def test_the_page_is_written_whole_or_not_at_all(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = make_run(tmp_path / "run", sample=False)
    report = folder / "report.html"
    report.write_text("before")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="disk full"):
        write_encoder_page(folder)
    assert report.read_text() == "before"
    assert not list(folder.glob(".*"))


def test_the_command_takes_its_config_and_says_where_the_page_is(
    make_run: MakeRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    folder = make_run(tmp_path / "run", sample=False)
    out = tmp_path / "elsewhere" / "page.html"
    with caplog.at_level("INFO", "isojepa"):
        assert report(ReportConfig(run=folder, out=out)) == out
    assert f"report: {out}" in caplog.text
    assert out.is_file()


def test_two_runs_of_one_name_are_told_apart(make_run: MakeRun, tmp_path: Path):
    ours, theirs = (make_run(tmp_path / name / "run", sample=False) for name in "ab")
    text = write_encoder_page(ours, [theirs]).read_text(encoding="utf-8")
    assert str(ours) in text
    assert str(theirs) in text


def test_a_metrics_file_that_is_still_written(make_run: MakeRun, tmp_path: Path):
    folder = make_run(tmp_path / "run", sample=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 201, "lo')
    assert write_encoder_page(folder).is_file()


def test_mistakes_of_the_user(make_run: MakeRun, tmp_path: Path):
    with pytest.raises(UserError, match="is not a folder"):
        write_encoder_page(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):
        write_encoder_page(tmp_path / "empty")
    folder = make_run(tmp_path / "run")
    with pytest.raises(UserError, match="is a folder"):
        write_encoder_page(folder, out=tmp_path)
    (folder / "scores.json").write_text("{")
    with pytest.raises(UserError, match=r"scores\.json: cannot be read as JSON"):
        write_encoder_page(folder)
    (folder / "scores.json").write_text(json.dumps([]))
    with pytest.raises(UserError, match=r"scores\.json: damaged \(it is not an object\)"):
        write_encoder_page(folder)
    (folder / "scores.json").unlink()
    (folder / "sample.npz").write_bytes(b"not an archive")
    with pytest.raises(UserError, match="cannot be read"):
        write_encoder_page(folder)
