"""Imports only point upwards: each stage uses the stages before it and nothing after."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "isojepa"
STAGES = [
    "errors",
    "boundaries",
    "machine",
    "randomness",
    "files",
    "distributed",
    "progress",
    "run_folder",
    "look",
    "normality",
    "kernels",
    "objective",
    "data",
    "models",
    "evaluation",
    "diagnosis",
    "training",
    "report",
    "world",
    "workflow",
    "cli",
]


def _stage(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("isojepa."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "isojepa":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("isojepa.")}
    return found & set(STAGES)


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or p.name != "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upwards(path: Path) -> None:
    stage = _stage(path)
    assert stage in STAGES, f"{stage} has no place in the order of stages"
    later = {name for name in _imports(path) if STAGES.index(name) > STAGES.index(stage)}
    assert not later


WORLD = [
    "environments",
    "model",
    "learning",
    "planning",
    "understanding",
    "page",
    "collected",
    "collect",
    "comparison",
    "demo",
]
WORLD_FILES = [p for p in sorted((PACKAGE / "world").rglob("*.py")) if p.name != "__init__.py"]


@pytest.mark.parametrize("path", WORLD_FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_upwards_inside_world(path: Path) -> None:
    room = path.relative_to(PACKAGE / "world").parts[0].removesuffix(".py")
    used = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("isojepa.world."):
            used.add(node.module.split(".")[2])
        elif isinstance(node, ast.ImportFrom) and node.module == "isojepa.world":
            used |= {alias.name for alias in node.names}
    assert not {name for name in used if WORLD.index(name) > WORLD.index(room)}


def test_there_is_no_utils() -> None:
    assert not [p for p in PACKAGE.rglob("*") if "util" in p.name]
