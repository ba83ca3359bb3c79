"""The page of an agent: what it judges, with anything missing, and nothing from elsewhere."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from isojepa.errors import UserError
from isojepa.pages.world.page import write_world_page

RETURNS = (480.0, 500.0, 470.0, 500.0)


def folder(
    path: Path, *, returns: tuple[float, ...] = RETURNS, success: float | None = None, **of_z: float
) -> Path:
    """A run whose episodes of chance had a return of 21."""
    config = {
        "env": "isojepa/CartPole-v1", "embedding_dim": 8, "random_steps": 100, "detach": ["policy"],
        "lambd": 0.09, "prediction": 1.0, "reward": 0.5, "value": 0.5, "preset": "lewm-micro",
        "steps": 50,
    }  # fmt: skip
    path.mkdir()
    record = {"config": config, "data": {"env": config["env"]}, "command": "isojepa world learn"}
    (path / "config.json").write_text(json.dumps(record))
    lines: list[dict[str, Any]] = [
        {"step": 1, "env_steps": 100, "loss": 3.0, "train_return": 21.0, "sigreg": 9.0}
    ]
    lines += [
        {"step": s, "env_steps": 100 + 4 * s, "loss": 2.0, "train_return": 3.0 * s, "sigreg": 4.0,
         "test_return": 5.0 * s, "effective_rank": 3.0, "gaussianity_p": 0.01, "dormant": 0.0}
        for s in (20, 40)
    ]  # fmt: skip
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    of_z = {"effective_rank": 4.0, "deviation": 1.0, "gaussianity_p": 0.005, "dormant": 0.0} | of_z
    learnt = {
        "env_steps": 260, "decisions": 260, "episodes": 9, "returns": returns,
        "lengths": returns, "success": success, "expected": returns, **of_z,
    }  # fmt: skip
    (path / "learnt.json").write_text(json.dumps(learnt))
    (path / "agent.gif").write_bytes(b"GIF89a")
    return path


def page(run: Path) -> str:
    return write_world_page(run).read_text()


def test_it_says_whether_the_agent_beats_chance(tmp_path: Path) -> None:
    good = page(folder(tmp_path / "good"))
    assert "It acts better than chance" in good
    assert "chance had 21" in good
    bad = page(folder(tmp_path / "bad", returns=(10.0, 30.0, 20.0, 25.0)))
    assert "It acts no better than chance" in bad
    assert "--explore-until" in bad


def test_it_says_what_is_wrong_with_a_representation(tmp_path: Path) -> None:
    html = page(folder(tmp_path / "run", effective_rank=1.1, dormant=0.4))
    assert "The representation has collapsed" in html
    assert "Many units are dormant" in html
    healthy = page(folder(tmp_path / "healthy", gaussianity_p=0.4))
    assert "has collapsed" not in healthy
    assert "The embedding is N(0, I)" in healthy


def test_it_needs_no_other_file_and_shows_what_there_is(tmp_path: Path) -> None:
    html = page(folder(tmp_path / "run", success=0.5))
    assert "data:image/gif" in html
    assert "50.0" in html
    assert 'src="http' not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)
    assert "<script src" not in html
    run = folder(tmp_path / "less")
    for name in ("metrics.jsonl", "agent.gif"):
        (run / name).unlink()
    assert "chance was not measured" in page(run)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    run = folder(tmp_path / "run")
    (run / "learnt.json").write_text('{"env_steps": "many"}')
    with pytest.raises(UserError, match=r"learnt\.json: damaged"):
        write_world_page(run)
