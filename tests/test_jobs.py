"""Independent jobs: every engine gives the same, failures stay alone, what is done stays done."""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from isojepa.errors import UserError
from isojepa.jobs import Engine, run_jobs


def square(x: int, place: Path) -> dict[str, int]:
    """Squares, and leaves a mark that it ran."""
    with (place / f"ran-{x}").open("a") as file:
        file.write("x")
    if x == 3:
        raise ValueError("three is refused")
    if x == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": x, "square": x * x}


def unkept(_: int) -> object:
    return object()


def jobs(place: Path, *numbers: int) -> dict[str, Any]:
    return {f"job-{x}": partial(square, x, place) for x in numbers}


class FakeRay:
    """Enough of Ray's interface for a scheduler of one process."""

    def __init__(self) -> None:
        self.most, self.options = 0, {}

    def remote(self, *function: Any, **options: Any) -> Any:
        if options:
            self.options = options
            return self.remote
        return SimpleNamespace(remote=lambda *words: partial(function[0], *words))

    def wait(self, running: list) -> tuple[list, list]:
        self.most = max(self.most, len(running))
        return running[-1:], running[:-1]

    def get(self, ready: Any) -> Any:
        return ready()


@pytest.mark.parametrize("engine", ["here", "processes", "ray", "slurm"])
def test_every_engine_gives_the_same_and_goes_on(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if engine == "slurm":
        pytest.importorskip("submitit")
        options = {"cluster": "local", "timeout_min": 2}
    ray = FakeRay()
    if engine == "ray":
        monkeypatch.setitem(sys.modules, "ray", ray)
        options = {"num_gpus": 1}
    run = partial(run_jobs, folder=tmp_path / "out", engine=engine, workers=2, options=options)
    first = {done.name: done for done in run(jobs(tmp_path, 1, 2, 3))}
    assert first["job-2"].result == {"x": 2, "square": 4}
    assert first["job-3"].result is None
    assert "three is refused" in str(first["job-3"].error)
    assert "three is refused" in (tmp_path / "out" / "job-3.error").read_text()
    again = {done.name: done for done in run(jobs(tmp_path, 1, 2, 3, 5))}
    assert again["job-1"] == first["job-1"]
    assert again["job-5"].result == {"x": 5, "square": 25}
    times = {p.name: len(p.read_text()) for p in tmp_path.glob("ran-*")}
    assert times == {"ran-1": 1, "ran-2": 1, "ran-3": 2, "ran-5": 1}
    if engine == "ray":
        assert ray.most == 2
        assert ray.options == {"num_gpus": 1}


def test_a_process_that_is_killed_fails_alone(tmp_path: Path) -> None:
    found = {d.name: d for d in run_jobs(jobs(tmp_path, 4, 1, 2), tmp_path / "out", workers=2)}
    assert found["job-4"].error is not None
    assert [found[f"job-{x}"].result["square"] for x in (1, 2)] == [1, 4]


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be the name"):
        list(run_jobs({"a/b": partial(unkept, 1)}, tmp_path))
    (failed,) = run_jobs({"a": partial(unkept, 1)}, tmp_path, engine="here")
    assert "not JSON serializable" in str(failed.error)
    for engine in ("slurm", "ray"):
        package = {"slurm": "submitit", "ray": "ray"}[engine]
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UserError, match=f"pip install {package}"):
            list(run_jobs({"b": partial(unkept, 1)}, tmp_path, engine=engine))
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(UserError, match=r"c\.json"):
        list(run_jobs({"c": partial(unkept, 1)}, tmp_path))
