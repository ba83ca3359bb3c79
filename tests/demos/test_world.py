"""The demo goes on after an interruption: what is whole is kept, what follows is made anew."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isojepa.demos import world as demo
from isojepa.demos.world import Step, WorldDemoConfig, world_demo
from isojepa.errors import UserError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Three quick parts in place of the real ones; the names of those made, in turn."""
    names: list[str] = []
    result = {"interval": [0.1, 0.2], "success": 0.15, "pairs": 2}

    def steps_of(config: WorldDemoConfig) -> list[Step]:
        folder = config.out / "run"

        def make(name: str) -> Any:
            def write() -> None:
                if names.count("stop") and name == "control-published":
                    names.remove("stop")
                    raise KeyboardInterrupt
                names.append(name)
                folder.mkdir(exist_ok=True)
                (folder / f"{name}.json").write_text(json.dumps(result | {"seed": config.seed}))

            return write

        parts = ("probes", "control", "control-published")
        return [Step(n, n, make(n), folder / f"{n}.json") for n in parts]

    monkeypatch.setattr(demo, "steps_of", steps_of)
    return names


def test_an_interrupted_demo_goes_on(made: list[str], tmp_path: Path) -> None:
    config = WorldDemoConfig(out=tmp_path / "demo")
    made.append("stop")
    with pytest.raises(KeyboardInterrupt):
        world_demo(config)
    assert made == ["probes", "control"]
    world_demo(config)
    assert made == ["probes", "control", "control-published"]
    world_demo(config)  # everything is there
    assert len(made) == 3
    assert set(json.loads((config.out / "run" / "seconds.json").read_text())) == set(made)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda file: file.write_text("{")])
def test_what_is_not_as_it_was_made_is_made_anew(
    made: list[str], tmp_path: Path, spoil: Any
) -> None:
    config = WorldDemoConfig(out=tmp_path / "demo")
    world_demo(config)
    spoil(config.out / "run" / "control.json")
    world_demo(config)
    assert made[3:] == ["control", "control-published"]


def test_other_settings_begin_anew_and_other_folders_are_left_alone(
    made: list[str], tmp_path: Path
) -> None:
    config = WorldDemoConfig(out=tmp_path / "demo")
    world_demo(config)
    world_demo(replace(config, seed=1))
    assert len(made) == 6
    assert json.loads((config.out / "run" / "control.json").read_text())["seed"] == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UserError, match="something else is already there"):
        world_demo(replace(config, out=tmp_path / "mine"))
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        world_demo(replace(config, out=tmp_path / "file" / "demo"))


@pytest.mark.slow
def test_the_real_parts_resume_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("stable_worldmodel")
    config = WorldDemoConfig(out=tmp_path / "demo", episodes=44, steps=4, pairs=4)
    real, calls = demo.steps_of, []

    def steps_of(config: WorldDemoConfig) -> list[Step]:
        def counted(step: Step) -> Any:
            def make() -> None:
                calls.append(step.name)
                if len(calls) in {1, 3}:  # killed before the first, and before training
                    raise KeyboardInterrupt
                step.make()

            return make

        return [step._replace(make=counted(step)) for step in real(config)]

    monkeypatch.setattr(demo, "steps_of", steps_of)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            world_demo(config)
    page = world_demo(config)
    assert page.stat().st_size > 10_000
    assert calls[:4] == ["collect", "collect", "train", "train"]
    assert len(calls) == 8 + 2
