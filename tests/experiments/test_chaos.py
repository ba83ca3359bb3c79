"""A fault is injected as said, and the page is made from the results."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parents[2] / "experiments" / "chaos"
sys.path.insert(0, str(FOLDER))  # the scripts are run from there and import one another
import odd_images  # noqa: E402


def chaos(*words: str) -> subprocess.CompletedProcess:
    """The script in a process of its own, which forks."""
    command = [sys.executable, str(FOLDER / "run.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=900)


def test_a_killed_run_is_gone_on_with_to_the_same_weights() -> None:
    done = chaos("--quick", "--only", "kill-writing-photos")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "as it should" in done.stdout
    assert "about" in done.stdout.splitlines()[0], "what it costs is told first"


@pytest.mark.slow
def test_every_cheap_fault() -> None:
    done = chaos("--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 trials were not as they should be" in done.stdout


def test_odd_images_are_what_they_are_said_to_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 255, (20, 20)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.jpg")
    unreadable, readable = odd_images.spoil(tmp_path, 50, rng)
    assert len(unreadable) == 2 * len(odd_images.UNREADABLE)
    assert len(readable) >= 2 * len(odd_images.READABLE) - 6
    for name in readable:
        with Image.open(tmp_path / name) as picture:
            picture.load()
    for name in unreadable:
        with pytest.raises(Exception, match=r".*"):
            Image.open(io.BytesIO((tmp_path / name).read_bytes())).load()


def test_the_page_is_made_from_the_results() -> None:
    done = chaos("--table")
    page = (FOLDER.parents[1] / "docs" / "reference" / "reliability.md").read_text()
    assert done.returncode == 0, done.stderr
    assert page.endswith(done.stdout), "run experiments/chaos/run.py --page-only"
    assert len(done.stdout.splitlines()) == 2 + 21, "a row per fault"
