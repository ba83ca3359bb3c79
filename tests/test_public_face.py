"""What the docs use is importable by public names, and importing little stays cheap."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACES = ["isojepa", "isojepa.normality", "isojepa.encoders", "isojepa.world"]
SCRIPTS = [p for folder in ("experiments", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
PAGES = [p for p in PAGES if p.name != "modality.md"]  # its code is files of the package
DEEPEST = 2
"""Dots in the name of a module that a user may need."""


def code_of(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".py":
        return text
    return "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def imports(code: str) -> Iterator[tuple[str, str | None]]:
    """Modules of the package that code imports, and the names from them."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


def names_of(module: str) -> dict[str, str]:
    """Public names of a face, from the imports that type checkers read."""
    tree = ast.parse(Path(import_module(module).__file__ or "").read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If))
    named = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    return {a.asname or a.name: f"{n.module}:{a.name}" for n in named for a in n.names}


@pytest.mark.parametrize("face", FACES)
def test_every_public_name_is_what_type_checkers_think(face: str) -> None:
    module = import_module(face)
    assert set(module.__all__) == set(names_of(face))
    for name, home in names_of(face).items():
        place, inner = home.split(":")
        assert getattr(module, name) is getattr(import_module(place), inner)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("path", [*SCRIPTS, *PAGES], ids=lambda p: str(p.relative_to(ROOT)))
def test_what_users_read_imports_public_names(path: Path) -> None:
    ours = [(m, name) for m, name in imports(code_of(path)) if m.split(".")[0] == "isojepa"]
    assert not {m for m, _ in ours if m.count(".") > DEEPEST}
    for module, name in ours:
        place = import_module(module)
        assert name is None or hasattr(place, name) or import_module(f"{module}.{name}")


LOADED = "import sys; from isojepa import SIGReg; print({'timm', 'bokeh'} & {*sys.modules})"
SCORED = "from isojepa import EvaluateConfig; print(EvaluateConfig(run='a/b').run.name)"
WRITTEN = (
    "from isojepa import EmbedConfig as C; print(C(run='a', data='b', out='c.npz').out.suffix)"
)


@pytest.mark.parametrize(
    ("code", "said"),
    [(LOADED, "set()"), (SCORED, "b"), (WRITTEN, ".npz")],
    ids=["SIGReg needs neither timm nor Bokeh", "scores: paths as strings", "embed: the same"],
)
def test_in_a_fresh_interpreter(code: str, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == said
