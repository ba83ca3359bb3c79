"""The one list of rooms, in import order: each uses those before it and nothing after.

docs/architecture.md and CONTRIBUTING.md hold the same list, written by
`python tests/test_layering.py`.
"""

import ast
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "isojepa"
ROOMS = {
    "version": "the version's one place",
    "faces": "public names, imported on first use",
    "errors": "the user's mistakes",
    "boundaries": "reading foreign files, writing, reaching a network: one declared error each",
    "machine": "cores and memory that this process may use",
    "devices": "one word for a device",
    "randomness": "all random streams; seeds as functions of integers",
    "files": "a whole file or none",
    "distributed": "sums over ranks",
    "progress": "bars and lines on the screen",
    "jobs": "many independent jobs: processes, SLURM, Ray",
    "caches": "what was decoded stays on the disk from run to run",
    "normality": "samples -> statistic, p-value",
    "kernels": "sums of cosines and sines, fast",
    "objective": "embeddings -> loss",
    "theme": "how pages look",
    "runs": "a run is a folder: its one writer and reader, checkpoints, settings",
    "training": "batches -> updates; knows neither images nor worlds",
    "embeddings": "any embeddings -> measurements -> findings -> verdict",
    "pixels": "image files of any kind -> squares of bytes",
    "backbones": "a network's name -> a module",
    "encoders": "unlabelled data -> encoder -> scores",
    "world": "frames, actions, rewards -> control",
    "sklearn": "arrays -> embeddings, as scikit-learn has it",
    "pages": "run folders -> one self-contained page each",
    "workflow": "stages chained: train, score, report",
    "demos": "whole jobs on data that come along",
    "cli": "verb -> (configuration, function)",
}
INSIDE = {
    "encoders": ["sources", "config", "modalities", "jepa", "plan", "budget", "images_record",
                 "own_images", "prepare", "evaluation", "embed", "export", "probes", "sample",
                 "compute", "in_memory", "recovery", "pretrain", "replay",
                 "selection"],
    "world": ["episodes", "environments", "model", "learning", "planners", "control", "agent",
              "analysis", "collection", "comparison"],
    "pages": ["run", "embeddings", "encoder", "world"],
}  # fmt: skip
STRANGERS = [("encoders", "world")]
"""Rooms side by side, neither of which knows the other."""
FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def imported(path: Path) -> set[tuple[str, ...]]:
    """The modules of the package that a file imports, as their parts below `isojepa`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "isojepa":
            parts = tuple(node.module.split(".")[1:])
            found |= {(*parts, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            names = (alias.name.split(".") for alias in node.names)
            found |= {tuple(name[1:]) for name in names if name[0] == "isojepa" and name[1:]}
    return found


def parts_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE).with_suffix("").parts


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upwards(path: Path) -> None:
    order = list(ROOMS)
    room, used = parts_of(path)[0], {name[0] for name in imported(path)}
    assert room in order, f"{room} has no place in the order of rooms"
    later = {name for name in used & set(order) if order.index(name) > order.index(room)}
    assert not later
    assert not {other for one, other in STRANGERS if room == other and one in used}


@pytest.mark.parametrize("house", INSIDE)
def test_imports_point_upwards_inside(house: str) -> None:
    order = INSIDE[house]
    wrong = []
    for path in (p for p in FILES if parts_of(p)[0] == house and p.name != "__init__.py"):
        own = parts_of(path)[1]
        assert own in order, f"{house}/{own} has no place in the order of rooms"
        used = {name[1] for name in imported(path) if name[0] == house and len(name) > 1}
        wrong += [(str(path), x) for x in used & set(order) if order.index(x) > order.index(own)]
    assert not wrong


def test_there_is_no_utils() -> None:
    assert not [p for p in PACKAGE.rglob("*") if "util" in p.name]


def layout() -> str:
    """The rooms as a block of text, those inside a house below it."""
    lines = []
    for room, what in ROOMS.items():
        lines.append(
            f"{room}/".ljust(15) + what if (PACKAGE / room).is_dir() else f"{room:15}{what}"
        )
        inside = textwrap.wrap("  ".join(INSIDE.get(room, [])), 80)
        lines += [" " * 15 + line for line in inside]
    return "```\n" + "\n".join(lines) + "\n```"


def order() -> str:
    """The rooms as one sentence."""
    return textwrap.fill(f"Imports only point upwards in this order: {', '.join(ROOMS)}.", 100)


WRITTEN = {ROOT / "docs" / "architecture.md": layout, ROOT / "CONTRIBUTING.md": order}
MARKED = re.compile(r"(<!-- rooms.*?-->\n).*?(\n<!-- /rooms -->)", re.DOTALL)


def renewed(page: Path) -> str:
    """A page's text with the list between its two marks replaced."""
    return MARKED.sub(lambda found: found[1] + WRITTEN[page]() + found[2], page.read_text())


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_pages_hold_the_list(page: Path) -> None:
    assert MARKED.search(page.read_text())
    assert page.read_text() == renewed(page), "run `python tests/test_layering.py`"


@pytest.mark.parametrize("house", INSIDE)
def test_the_list_names_what_is_there(house: str) -> None:
    there = {parts_of(p)[1] for p in FILES if parts_of(p)[0] == house} - {"__init__"}
    assert set(INSIDE[house]) == there
    assert set(ROOMS) == {parts_of(path)[0] for path in FILES}


if __name__ == "__main__":
    for written in WRITTEN:
        written.write_text(renewed(written))
