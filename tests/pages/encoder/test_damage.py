"""Files of a run that were harmed: one line or a page, never a traceback; seeded mutations."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from bokeh.models import FixedTicker

from isojepa.errors import UserError
from isojepa.pages.encoder.page import write_encoder_page
from isojepa.pages.run import load_run
from isojepa.runs.folder import make_run_folder
from isojepa.runs.metrics import Metrics, read_metrics
from isojepa.theme.style import log_ticks, new_figure

VALUES = ["null", "-1", "0", "1e999", "NaN", '"x"', "[]", "{}", "true", "123456789012345678901"]
FILES = ("config.json", "metrics.jsonl", "scores.json", "skipped.tsv", "views.png", "sample.npz")


def harm(path: Path, rng: np.random.Generator) -> None:
    """Change a value of JSON, or some bytes, or cut the file short."""
    content = bytearray(path.read_bytes())
    kind = rng.integers(0, 4)
    if kind == 0 and path.suffix.startswith(".json"):
        text = content.decode()
        places = [i for i, c in enumerate(text) if c == ":"]
        at = int(rng.choice(places))
        end = min((i for i in (text.find(c, at) for c in ",}]\n") if i > 0), default=len(text))
        path.write_text(f"{text[: at + 1]} {rng.choice(VALUES)}{text[end:]}")
        return
    if kind == 1:
        content = content[: int(rng.integers(0, len(content)))]
    else:
        for at in rng.integers(0, len(content), kind):
            content[at] = rng.integers(0, 256)
    path.write_bytes(content)


def outcome(run: Path) -> str:
    try:
        write_encoder_page(run)
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return "refused"
    return "page"


def survive(run: Path, tmp_path: Path, seeds: range) -> set[str]:
    seen = set()
    for seed in seeds:
        copy = tmp_path / f"copy-{seed}"
        shutil.copytree(run, copy)
        harm(copy / FILES[seed % len(FILES)], np.random.default_rng(seed))
        seen.add(outcome(copy))
        shutil.rmtree(copy)
    return seen


@pytest.fixture(scope="module")
def small(make_run: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose sample is small, so that its page is quick."""
    run = make_run(tmp_path_factory.mktemp("runs") / "run")
    with np.load(run / "sample.npz") as archive:
        few = {k: v if k == "class_names" else v[:12] for k, v in dict(archive).items()}
    np.savez(run / "sample.npz", **few)
    return run


def test_harmed_files_are_refused_in_one_line_or_read(small: Path, tmp_path: Path) -> None:
    assert survive(small, tmp_path, range(12)) == {"refused", "page"}


@pytest.mark.slow
def test_many_harmed_files(small: Path, tmp_path: Path) -> None:
    assert survive(small, tmp_path, range(12, 200)) == {"refused", "page"}


def test_a_damaged_line_of_metrics_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    logging.getLogger("isojepa").addHandler(caplog.handler)
    good = [{"step": step, "loss": 0.5} for step in (1, 2, 3)]
    lines = [json.dumps(line) for line in good]
    bad = ["{", "7", '{"step": "2"}', '{"loss": 1}', '{"step": -1}', "\udcff"]
    text = "\n".join([lines[0], *bad, *lines[1:], '{"step": 4, "lo'])
    (tmp_path / "metrics.jsonl").write_bytes(text.encode(errors="surrogateescape"))
    assert read_metrics(tmp_path) == good
    assert "line 2 and 5 more are damaged and left out" in caplog.text
    Metrics(tmp_path, start=2)
    assert read_metrics(tmp_path) == good[:2]


@pytest.mark.parametrize("high", [0.0, 1e-30, 3.0, 1e300, math.inf, math.nan])
@pytest.mark.parametrize("low", [-1.0, 0.0, 5e-324, 1e-30, 1.0, math.inf, math.nan])
def test_ticks_of_any_two_values(low: float, high: float) -> None:
    plot = new_figure("", y_axis_type="log")
    log_ticks(plot, low, high)
    if isinstance(plot.yaxis[0].ticker, FixedTicker):
        ticks = plot.yaxis[0].ticker.ticks
        assert ticks
        assert len(ticks) < 30
        assert all(0 < tick < math.inf for tick in ticks)


def test_an_old_run_with_frequencies_beyond_sense_has_a_page(small: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small, tmp_path / "run")
    made = json.loads((run / "config.json").read_text())
    made["config"]["t_max"] = 1e30
    (run / "config.json").write_text(json.dumps(made))
    assert write_encoder_page(run).is_file()


def test_a_page_below_what_is_no_folder(small: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"page\.html.*cannot be written"):
        write_encoder_page(small, out=tmp_path / "file" / "x" / "page.html")


def test_what_a_diverged_run_left_may_be_used_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"stopped": "the loss became infinite"}')
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    make_run_folder(run, resume=False, overwrite=False)
    assert list(run.iterdir()) == []
    for harmed in ('{"config": {}}', "{"):  # a run that goes on, or may have something to lose
        (run / "config.json").write_text(harmed)
        with pytest.raises(UserError, match="already there"):
            make_run_folder(run, resume=False, overwrite=False)


def test_labels_of_a_sample_have_names(small: Path) -> None:
    assert load_run(small).sample.class_name(3) == "3"
