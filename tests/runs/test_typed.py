"""Dataclasses to JSON files and back: what is kept, and what is refused with the entry's name."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import pytest

from isojepa.errors import UserError
from isojepa.runs.typed import (
    Inline,
    Key,
    Others,
    Sparse,
    from_json,
    read_result,
    to_json,
    write_result,
)


class Done(NamedTuple):
    seconds: float
    sha: str


@dataclass(frozen=True)
class Rate:
    success: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Bin:
    least: Annotated[float, Key("from")]
    rate: Inline[Rate]


@dataclass(frozen=True, kw_only=True)
class Result:
    name: str
    rate: Inline[Rate]
    kind: Literal["strict", "published"] = "strict"
    bins: tuple[Bin, ...] = ()
    median: float | None = None
    steps: Sparse[int | None] = None
    trace: tuple[float | None, ...] = ()
    shots: dict[int, Rate] = field(default_factory=dict)
    done: dict[str, Done] = field(default_factory=dict)
    size: int | str = 0
    data: Path = Path()
    free: object = None
    others: Others = field(default_factory=dict)


RATE = Rate(0.5, (0.25, 0.75))
FULL = Result(
    name="a", rate=RATE, kind="published", bins=(Bin(1.5, RATE),), median=2.0, steps=3,
    trace=(None, 1.0), shots={10: RATE}, done={"train": Done(1.0, "ab")}, size="auto",
    data=Path("data/x"), free={"any": [1]}, others={"newer": {"x": 1}},
)  # fmt: skip


@pytest.mark.parametrize("result", [FULL, Result(name="b", rate=RATE)])
def test_a_file_gives_back_what_was_written(result: Result, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_result(path, result)
    assert read_result(Result, path) == result


def test_the_layout_of_the_file() -> None:
    rate = {"success": 0.5, "interval": [0.25, 0.75]}
    made = to_json(FULL)
    assert json.loads(json.dumps(made)) == made
    assert made["newer"] == {"x": 1}
    assert made["bins"] == [{"from": 1.5, **rate}]
    assert made["shots"] == {"10": rate}
    assert made["done"] == {"train": [1.0, "ab"]}
    assert {k: made[k] for k in rate} == rate
    bare = to_json(Result(name="b", rate=Rate(float("nan"), (0, 1))))
    assert "steps" not in bare
    assert bare["median"] is None
    assert bare["success"] is None


def content(**changes: Any) -> dict[str, Any]:
    return {"name": "a", "success": 1, "interval": [0, 1], **changes}


def test_integers_are_numbers_too_and_what_cannot_be_reckoned_with_is_none() -> None:
    found = from_json(Result, content(median=float("nan")), Path("x.json"))
    assert found.rate == Rate(1.0, (0.0, 1.0))
    assert isinstance(found.rate.success, float)
    assert found.median is None
    assert found.others == {}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ([], "it is not an object"),
        ({"success": 1}, "name is missing"),
        (content(success="1"), "success is 1"),
        (content(success=True), "success is True"),
        (content(success=10**400), "success is 1000"),
        (content(success=float("inf")), "success is inf"),
        (content(interval=[0]), r"interval is \[0\]"),
        (content(interval=[0, None]), r"interval\.1 is None"),
        (content(name=None), "name is None"),
        (content(kind="other"), "kind is other"),
        (content(steps=1.5), r"steps is 1\.5"),
        (content(bins={}), r"bins is \{\}"),
        (content(bins=[{"from": 1, "success": 1}]), r"bins\.0\.interval is missing"),
        (content(shots={"x": {}}), "shots is x"),
        (content(shots={"5": 3}), r"shots\.5 is 3"),
        (content(done={"train": [1]}), r"done\.train is \[1\]"),
        (content(size=None), "size is None"),
        (content(data=3), "data is 3"),
    ],
)
def test_what_does_not_fit_is_named(made: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(made))
    with pytest.raises(UserError, match=rf"result\.json: damaged \({words}"):
        read_result(Result, path)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000, '"\\ud800'])
def test_what_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"result\.json: cannot be read as JSON"):
        read_result(Result, tmp_path / "result.json")
