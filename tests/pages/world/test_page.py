"""The page on a world model: whole, with any part missing, and in a browser without a network."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from isojepa.errors import UserError
from isojepa.pages.world.page import WorldReportConfig, report_world, write_world_page
from isojepa.pages.world.verdict import judge_world_model
from isojepa.pages.world.world_run import read_world_run
from isojepa.world.analysis import decoder, probing, surprise
from tests.world.studied import studied_run

PARTS = {
    "probes": "Probes and latent distances",
    "surprise": "Surprise",
    "decoder": "Decoded frames",
    "control": "Control",
}


def share(success: float, low: float, high: float, pairs: int = 40) -> dict[str, Any]:
    return {"success": success, "interval": [low, high], "pairs": pairs}


def control(success: float = 0.9, low: float = 0.8, high: float = 0.96) -> dict[str, Any]:
    return {
        **share(success, low, high),
        "protocol": "strict",
        "environment": "swm/TwoRoom-v1",
        "plan_seconds": 0.1,
        "sequences_per_plan": 400.0,
        "median_steps": None,
        "seeds": [{"seed": 0, **share(success, low, high)}, {"seed": 1, **share(1, 0.9, 1)}],
        "by_distance": [{"from": 10.0, "to": 20.0, **share(1, 0.8, 1)}],
        "distance_unit": "pixels",
        "baselines": {"random": share(0.2, 0.1, 0.3), "straight line": share(0.6, 0.5, 0.7)},
        "published": {"LeWorldModel": 0.87},
        "settings": {"planner": {"name": "icem"}, "cost": "approach", "horizon": 5, "execute": 1},
        "config": {"offset": 25, "budget": 50, "data": "<script>alert(1)</script>"},
        "hardware": "CPU",
    }


def write_control(folder: Path, result: dict[str, Any], name: str = "control") -> None:
    (folder / f"{name}.json").write_text(json.dumps(result))
    Image.new("RGB", (8, 8)).save(folder / f"{name}.gif")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page") / "a <b>run</b>"
    shutil.copytree(studied_run(), folder)
    probing.probe(probing.ProbeConfig(run=folder, frames=200))
    surprise.measure_surprise(surprise.SurpriseConfig(run=folder, clips=40))
    decoder.decode(decoder.DecodeConfig(run=folder, steps=10, frames=100))
    write_control(folder, control())
    write_control(folder, {**control(0.95), "protocol": "published"}, "control-published")
    walled = {
        **control(0.68), "strict": share(0.61, 0.5, 0.7), "strict_rule": "within 8 px",
        "strict_baselines": {"random": share(0.01, 0, 0.1)}, "episodes": 29,
        "by_episode": [0.52, 0.79], "config": {"goals": "walled", "offset": 25, "budget": 100},
    }  # fmt: skip
    write_control(folder, walled, "control-walled")
    write_world_page(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "run")


def text(folder: Path) -> str:
    return write_world_page(folder).read_text(encoding="utf-8")


def test_everything_is_on_the_page(whole: Path):
    page = (whole / "report.html").read_text(encoding="utf-8")
    for section in ("control", "imagination", "training", "probes", "geometry", "surprise"):
        assert f'<section id="{section}">' in page
    assert "Not measured yet" not in page
    assert "reaches 90\N{NO-BREAK SPACE}% of goals 25 steps ahead" in page
    assert "It reaches 68\N{NO-BREAK SPACE}% of goals with a wall between." in page
    assert "Strict protocol, swm/TwoRoom-v1: goals with a wall between, 100 steps allowed" in page
    assert "come from 29 episodes: with these drawn anew, 52.0 – 79.0" in page
    assert "Strictly: within 8 px." in page
    assert page.count("data:image/gif;base64,") == 4
    assert "<b>run</b>" not in page
    assert "<script>alert" not in page
    assert "Published protocol" in page
    assert len(page) < 6_000_000


@pytest.mark.parametrize("parts", [["probes", "control"], ["surprise", "decoder"]])
def test_missing_parts_are_left_out_and_named(copy: Path, parts: list[str]):
    (copy / "probes.npz").unlink()  # the diagnosis of its embeddings takes seconds
    for part in parts:
        for file in copy.glob(f"{part}*.*"):
            file.unlink()
    page = text(copy)
    assert "Not measured yet" in page
    for part in parts:
        assert PARTS[part] in page
        verb = {"probes": "probe", "decoder": "decode", "control": "plan"}.get(part, part)
        assert f"isojepa world {verb} --run" in page


def test_arrays_may_be_missing(copy: Path):
    for file in copy.glob("*.npz"):
        file.unlink()
    assert '<section id="surprise">' in text(copy)


def test_results_of_an_older_version_are_shown(copy: Path):
    for file in copy.glob("*.npz"):
        file.unlink()
    bare = {
        "control": ("success", "interval", "pairs"),
        "probes": ("episodes", "frames", "quantities"),
        "surprise": (
            "episodes",
            "clips",
            "frames",
            "event",
            "first",
            "usual",
            "jump",
            "conditions",
        ),
        "decoder": ("side", "steps", "frames", "mse", "mse_of_mean_frame", "explained"),
    }
    for name, keys in bare.items():
        file = copy / f"{name}.json"
        result = json.loads(file.read_text())
        file.write_text(json.dumps({"from the future": [1]} | {key: result[key] for key in keys}))
    page = text(copy)
    assert "Not measured yet" not in page
    assert "Unknown protocol" in page


@pytest.mark.parametrize(
    ("file", "entry", "value"),
    [
        ("control.json", "success", "many"),
        ("probes.json", "quantities", {}),
        ("surprise.json", "usual", None),
        ("decoder.json", "frames", [1, 2]),
    ],
)
def test_a_damaged_result_is_named(copy: Path, file: str, entry: str, value: Any):
    result = json.loads((copy / file).read_text())
    (copy / file).write_text(json.dumps(result | {entry: value}))
    with pytest.raises(UserError, match=rf"{file}: damaged \({entry} is"):
        read_world_run(copy)


def test_a_bare_folder_makes_a_page(tmp_path: Path):
    (tmp_path / "config.json").write_text("{}")
    page = report_world(WorldReportConfig(run=tmp_path)).read_text(encoding="utf-8")
    assert "not judged" in page
    assert page.count("isojepa world") >= 5


def test_what_is_no_run_or_damaged(copy: Path, tmp_path: Path):
    with pytest.raises(UserError, match="not a folder"):
        write_world_page(tmp_path / "nothing")
    with pytest.raises(UserError, match="is a folder"):
        write_world_page(copy, copy)
    (copy / "probes.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"probes\.npz: cannot be read as arrays"):
        write_world_page(copy)
    (copy / "probes.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        write_world_page(copy)


# The verdict


def judged(folder: Path) -> Any:
    return judge_world_model(read_world_run(folder))


def test_control_decides(copy: Path):
    verdict = judged(copy)
    assert verdict.level == "good"
    assert "80 to 96" in verdict.summary
    assert "Plans around things" in [f.title for f in verdict.findings]
    (copy / "probes.npz").unlink()
    write_control(copy, control(0.25, 0.15, 0.4))
    verdict = judged(copy)
    assert verdict.level == "warning"
    assert "A straight line does better" in [f.title for f in verdict.findings]
    write_control(copy, control(0.02, 0.0, 0.08))
    assert judged(copy).level == "problem"


def test_without_control_prediction_decides(copy: Path):
    for file in [*copy.glob("control*"), *copy.glob("*.npz")]:
        file.unlink()
    lines = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]

    def rewrite(**values: float) -> None:
        (copy / "metrics.jsonl").write_text(
            "\n".join(json.dumps({**line, **values}) for line in lines)
        )

    rewrite(held_out_rollout_1=0.1, held_out_persistence_1=0.5)
    assert judged(copy).state == "predicts its world"
    rewrite(held_out_rollout_1=0.6, held_out_persistence_1=0.5)
    assert judged(copy).state == "predicts no better than a copy"
    assert judged(copy).remedies
    rewrite(effective_rank=1.02)
    assert judged(copy).state == "collapsed"
    assert judged(copy).level == "problem"
    assert any("--lambd" in remedy for remedy in judged(copy).remedies)
    rewrite(loss=float("nan"))
    assert judged(copy).state == "diverged"
    assert text(copy)


def test_findings_name_what_is_lost(copy: Path):
    (copy / "probes.npz").unlink()
    result = json.loads((copy / "probes.json").read_text())
    result["quantities"][1]["scores"]["model"]["linear"]["r"] = 0.4
    result["unseen"] = False
    (copy / "probes.json").write_text(json.dumps(result))
    levels = {finding.title: finding.level for finding in judged(copy).findings}
    name = result["quantities"][1]["name"]
    assert levels[f"Not all of the state is linear: {name}"] == "warning"
    assert levels["Nothing was held out in training"] == "warning"
    found = json.loads((copy / "surprise.json").read_text())
    found["conditions"]["teleport"]["p_before"] = 0.5
    (copy / "surprise.json").write_text(json.dumps(found))
    levels = {finding.title: finding.level for finding in judged(copy).findings}
    assert levels["A teleport does not surprise it"] == "warning"
    found["episodes"]["tested"] = 4
    (copy / "surprise.json").write_text(json.dumps(found))
    levels = {finding.title: finding.level for finding in judged(copy).findings}
    assert levels["A teleport: 4 episodes are too few to test whether it surprises"] == "note"


# In a browser


def test_a_browser_draws_it_and_fetches_nothing(browser: Any, whole: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None
    )
    page.on("request", lambda request: requests.append(request.url))
    path = whole / "report.html"
    page.goto(path.as_uri())
    page.wait_for_function(
        "typeof Bokeh !== 'undefined' && Bokeh.documents.length && Bokeh.documents[0].is_idle",
        timeout=90_000,
    )
    drawn = page.evaluate(
        """() => Bokeh.index.roots.filter((v) => v.model.type === "Figure").map((view) => {
             const canvas = view.canvas_view.primary.canvas;
             const ink = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
             return ink.data.some((value) => value > 0);
           })"""
    )
    # 6 curves, 4 probes, a distance, spectrum and radii, 3 of surprise
    assert len(drawn) == 16
    assert all(drawn)
    broken = "[...document.images].filter((image) => !image.naturalWidth).length"
    assert page.evaluate(broken) == 0
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [path.as_uri()]
    assert complaints == []
