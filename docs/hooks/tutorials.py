"""A hook of mkdocs: each docs/tutorials/*.py is run, and becomes a page with what it printed.

The scripts are in the percent format of jupytext, so that an editor opens them as notebooks. What a
run gave is kept in .cache/ until the script or the package changes.
"""

import base64
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from nbclient import NotebookClient

log = get_plugin_logger("tutorials")
ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "tutorials"
LONGEST = 600
"""Seconds that one cell may take."""
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BASH = "%%bash\n"
PLAIN = """import os, warnings
os.environ.pop("FORCE_COLOR", None)  # kernels ask for it, and commands would draw bars
warnings.filterwarnings("ignore", "IProgress not found")"""


class Picture(NamedTuple):
    """An image that a cell showed."""

    name: str
    content: bytes


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and their pictures to the site."""
    for script in sorted(Path(config.docs_dir, "tutorials").glob("*.py")):
        text, pictures = rendered(executed(script), script.stem)
        files.append(File.generated(config, f"tutorials/{script.stem}.md", content=text))
        for name, content in pictures:
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def executed(script: Path) -> nbformat.NotebookNode:
    """The script as a notebook with its outputs; a cell that fails fails the build."""
    sources = sorted((ROOT / "src").rglob("*.py"))
    key = hashlib.sha256(b"".join(p.read_bytes() for p in [script, *sources])).hexdigest()[:16]
    kept = CACHE / f"{script.stem}-{key}.ipynb"
    if not kept.is_file():
        log.info("running %s", script.name)
        notebook = jupytext.read(script)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(PLAIN))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        with tempfile.TemporaryDirectory() as place:
            here = {"metadata": {"path": place}}
            client = NotebookClient(
                notebook, timeout=LONGEST, startup_timeout=LONGEST, resources=here
            )
            client.execute(env={**os.environ, "PATH": path, "COLUMNS": "100"})
            for output in (one for cell in notebook.cells for one in cell.get("outputs", [])):
                if "text" in output:
                    output.text = output.text.replace(f"{place}/", "")
        del notebook.cells[0]
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{script.stem}-*.ipynb"):
            old.unlink()
        nbformat.write(notebook, kept)
    return nbformat.read(kept, 4)


def rendered(notebook: nbformat.NotebookNode, name: str) -> tuple[str, list[Picture]]:
    """The notebook as Markdown, with its pictures as files beside it."""
    parts: list[str] = []
    pictures: list[Picture] = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        language = "bash" if cell.source.startswith(BASH) else "python"
        parts.append(fenced(cell.source.removeprefix(BASH), language))
        for output in joined(cell.outputs):
            picture = picture_of(output, f"{name}/{len(pictures)}")
            if picture is not None:
                pictures.append(picture)
                parts.append(f"![What the code above shows]({picture.name})")
            elif "text/html" in output.get("data", {}):
                parts.append(f'<div class="output">{output.data["text/html"]}</div>')
            else:
                words = output["text"] if "text" in output else output.data["text/plain"]
                plain = "\n".join(line.rstrip() for line in ESCAPES.sub("", words).splitlines())
                parts.append(fenced(plain.strip("\n"), "{ .text .output }"))
    source = f"\n\n---\n\nThis page is the output of [{name}.py]({name}.py), run when it was built."
    return "\n\n".join(parts) + source, pictures


def joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with the pieces of one stream put together, what went to the screen as one."""
    whole: list[nbformat.NotebookNode] = []
    for output in outputs:
        if whole and "text" in output and "text" in whole[-1]:
            whole[-1] = nbformat.from_dict({**whole[-1], "text": whole[-1].text + output.text})
        else:
            whole.append(output)
    return whole


def picture_of(output: nbformat.NotebookNode, stem: str) -> Picture | None:
    """The image that an output holds, if it is one."""
    for kind in ("png", "gif"):
        if f"image/{kind}" in output.get("data", {}):
            return Picture(f"{stem}.{kind}", base64.b64decode(output.data[f"image/{kind}"]))
    return None


def fenced(text: str, kind: str) -> str:
    """A block of code or of output."""
    return f"```{kind}\n{text}\n```"
