"""README and docs: their Python runs, their commands parse, their links lead somewhere."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa import cli, workflow
from isojepa.encoders.config import PretrainConfig

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
MADE = {DOCS / "reference" / "cli.md", *(path.with_suffix(".md") for path in TUTORIALS)}
"""Pages that the build of the site writes."""


def blocks(page: Path, language: str) -> list[str]:
    if page.suffix == ".py":
        cells = re.findall(rf'# %% language="{language}"\n((?:#.*\n)+)', page.read_text())
        return [re.sub("^# ", "", cell, flags=re.MULTILINE) for cell in cells]
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, a run trained on them and its embeddings, as README assumes."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name in ["one", *map(str, range(40))]:
        pixels = rng.integers(0, 255, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{name}.jpg")
    workflow.pretrain(
        PretrainConfig(
            data=folder / "photos",
            out=folder / "run",
            model="resnet_nano",
            image_size=16,
            batch_size=16,
            steps=2,
            slices=16,
            device="cpu",
            tensorboard=False,
        )
    )
    assert (
        cli.main(
            [
                "embed",
                f"{folder / 'run'}",
                "--data",
                f"{folder / 'photos'}",
                "--out",
                f"{folder / 'embeddings.npz'}",
            ]
        )
        == 0
    )
    return folder


@pytest.mark.parametrize(
    ("page", "least"),
    [
        ("README.md", 3),
        ("docs/howto/sigreg.md", 2),
        ("docs/howto/lambda.md", 1),
        ("docs/howto/series.md", 2),
        ("docs/howto/scikit-learn.md", 1),
        ("docs/explanation/sigreg-forms.md", 3),
    ],
)
def test_python_of_a_page_runs(
    page: str, least: int, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workplace)
    code = blocks(ROOT / page, "python")
    assert len(code) >= least
    for block in code:
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("page", [*PAGES, *TUTORIALS], ids=lambda page: page.name)
def test_commands_parse(page: Path) -> None:
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "isojepa":
                cli.parse(words[1:], cli.verbs())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith("http"):
            path = (page.parent / target).resolve()
            assert path.exists() or path in MADE, target


def rows_of_places() -> list[tuple[str, str]]:
    page = (DOCS / "architecture.md").read_text()
    rows = re.findall(
        r"^\|.*\|((?: *`[a-z_/]+\.py`,?)+) \|((?: *`\w+`,?)+) \|$", page, re.MULTILINE
    )
    return [(files, names) for files, names in rows]


@pytest.mark.parametrize(("files", "names"), rows_of_places())
def test_architecture_names_what_is_there(files: str, names: str) -> None:
    paths = [ROOT / "src" / "isojepa" / file for file in re.findall(r"`(.+?)`", files)]
    text = "\n".join(path.read_text() for path in paths)
    for name in re.findall(r"`(.+?)`", names):
        assert re.search(rf"^ *(?:def|class) {name}\b|^{name}\b.* =", text, re.MULTILINE), name


def test_architecture_names_places() -> None:
    assert len(rows_of_places()) > 25
