"""The recipes of docs/explanation/world-models.md, at a few steps each."""

import re
import shlex
from pathlib import Path

import pytest

from isojepa import cli

pytestmark = pytest.mark.slow
pytest.importorskip("stable_worldmodel")

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "world-models.md"
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in block.splitlines()
]
RECIPES = {
    shlex.split(first)[4]: (first, *LINES[i + 1 : i + 3])
    for i, first in enumerate(LINES)
    if "world collect" in first and "--frame-size 224" in first
}
CHANGES = {"--episodes": "3", "--seeds": "1"}
SMALLER = {
    "collect": "--steps 40 --workers 1",
    "train": "--steps 2 --batch-size 2 --held-out 0.3 --device cpu",
    "plan": "--pairs 2 --candidates 4 --iterations 1 --offset 10 --budget 10 --horizon 2 "
    "--execute 2 --films 1 --device cpu",
}


def test_the_page_has_all_four() -> None:
    environments = {"TwoRoom-v1", "PushT-v1", "OGBCube-v0", "ReacherDMControl-v0"}
    assert RECIPES.keys() == {f"swm/{name}" for name in environments}


@pytest.mark.parametrize("environment", RECIPES)
def test_recipe_runs_end_to_end(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in RECIPES[environment]:
        words = shlex.split(line)[1:]
        for flag, value in CHANGES.items():
            if flag in words:
                words[words.index(flag) + 1] = value
        assert cli.main([*words, *SMALLER[words[1]].split()]) == 0, line
    (run,) = [path.parent for path in tmp_path.glob("*/control.json")]
    assert (run / "control.gif").is_file()
