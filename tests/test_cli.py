"""The command line as a user meets it: help, mistakes, and the way from images to a report."""

import errno
import gc
import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from isojepa import cli
from isojepa.machine import quick_imports

QUICK = (
    "--model resnet_nano --image-size 16 --batch-size 16 --steps 6 --slices 16 "
    "--projector-hidden 32 --projection-dim 8 --device cpu --no-tensorboard"
)


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 colour JPEGs of two kinds in nested class folders, one of them broken."""
    root = tmp_path_factory.mktemp("jpegs")
    rng = np.random.default_rng(0)
    for i in range(60):
        pixels = rng.integers(0, 255, (5, 5, 3)) if i % 2 else np.full((5, 5, 3), 4 * i)
        folder = root / ("noise" if i % 2 else "flat") / "nested"
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels.astype(np.uint8)).resize((40, 30))
        picture.save(folder / f"{i}.jpg")
    (root / "flat" / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    return root


@pytest.fixture(scope="module")
def finished(jpegs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run made by the command line."""
    out = tmp_path_factory.mktemp("runs") / "run"
    assert isojepa(f"pretrain --data {jpegs} --out {out} {QUICK}") == 0
    return out


def isojepa(line: str) -> int:
    return cli.main(shlex.split(line))


def test_pretrain_scores_and_reports(finished: Path) -> None:
    scores = json.loads((finished / "scores.json").read_text())
    assert scores.keys() == {"encoder", "untrained", "pca", "pixels"}
    assert 0 <= scores["encoder"]["linear"] <= 1
    assert scores["encoder"]["shots"]["1"]["interval"][0] <= scores["encoder"]["shots"]["1"]["mean"]
    page = (finished / "report.html").read_text()
    assert "flat/broken.jpg" in page
    assert "flat/broken.jpg\t" in (finished / "skipped.tsv").read_text()


def test_evaluate_on_its_own_and_on_other_data(
    finished: Path, jpegs: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = (finished / "scores.json").read_text()
    assert isojepa(f"evaluate {finished} --out {tmp_path / 'scores.json'}") == 0
    again = json.loads((tmp_path / "scores.json").read_text())
    assert again == json.loads(before)
    assert "1-shot" in capsys.readouterr().err
    assert isojepa(f"evaluate {finished} --data {jpegs} --out {tmp_path / 'b.json'}") == 0
    assert json.loads((tmp_path / "b.json").read_text()) == again


def test_embed_keeps_paths_and_labels(finished: Path, jpegs: Path, tmp_path: Path) -> None:
    npz, parquet = tmp_path / "e.npz", tmp_path / "e.parquet"
    for out in (npz, parquet):
        assert isojepa(f"embed {finished} --data {jpegs} --out {out}") == 0
    arrays = np.load(npz)
    assert arrays["embeddings"].shape == (60, 128)
    assert arrays["paths"][0] == "flat/nested/0.jpg"
    assert arrays["class_names"][arrays["labels"][0]] == "flat"
    table = pq.read_table(parquet).to_pylist()
    assert [row["path"] for row in table] == arrays["paths"].tolist()
    np.testing.assert_array_equal(table[7]["embedding"], arrays["embeddings"][7])
    assert table[-1]["label"] == "noise"


def test_report_again(finished: Path, tmp_path: Path) -> None:
    assert isojepa(f"report {finished} --out {tmp_path / 'page.html'}") == 0
    assert (tmp_path / "page.html").stat().st_size > 100_000


def test_resume_of_a_finished_run_does_no_harm(finished: Path, jpegs: Path) -> None:
    before = (finished / "encoder" / "model.safetensors").read_bytes()
    assert isojepa(f"pretrain --data {jpegs} --out {finished} --resume") == 0
    assert (finished / "encoder" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pretrain --data {tmp}/none --out {tmp}/run", "no such folder"),
        ("pretrain --data {jpegs} --out {run}", "--resume"),
        ("pretrain --data {jpegs} --out {tmp}/run --model resnet181", "did you mean"),
        ("pretrain --data {jpegs} --out {tmp}/run --lambd 2", "--lambd must lie in [0, 1]"),
        ("pretrain --data {jpegs} --out {tmp}/run --batch-size 1000", "only 48 training samples"),
        ("pretrain --data {jpegs} --out {tmp}/run --steps 0", "--steps must be at least 1"),
        ("pretrain --data {jpegs} --out {tmp}/run --steps x", "steps"),
        ("pretrain --data {jpegs} --out {tmp}/run --stpes 5", "--stpes"),
        ("pretrain --data {jpegs} --out {tmp}/run --device cuda", "--device cuda"),
        ("pretrain --data {jpegs} --out /proc/nowhere/run", "cannot be written"),
        ("evaluate {tmp}", "not a run folder"),
        ("evaluate {run} --data {plain}", "no labels"),
        ("evaluate {run} --holdout 0", "--holdout"),
        ("embed {run} --data {jpegs} --out {tmp}/e.csv", ".npz or .parquet"),
        ("embed {run} --data {jpegs} --out {tmp}/none/e.npz", "does not exist"),
        ("embed {tmp} --data {jpegs} --out {tmp}/e.npz", "no trained encoder"),
        ("report {tmp}", "config.json"),
        ("frobnicate", "frobnicate"),
    ],
)
def test_mistakes_get_one_clear_line_and_exit_code_2(
    line: str,
    words: str,
    finished: Path,
    jpegs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    names = {"tmp": tmp_path, "jpegs": jpegs, "run": finished, "plain": jpegs / "flat" / "nested"}
    if "--device cuda" in line:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here")
    try:
        code = isojepa(line.format(**names))
    except SystemExit as exit_:  # what the parser of the command line raises
        code = exit_.code
    said = capsys.readouterr()
    assert code == 2
    assert words in said.err + said.out
    assert "Traceback" not in said.err


def test_help_explains_every_field(capsys: pytest.CaptureFixture) -> None:
    for verb, entry in cli.verbs().items():
        positional = {"run", "runs", "file", "folder"}
        with pytest.raises(SystemExit) as ended:
            isojepa(f"{verb} --help")
        assert ended.value.code == 0
        text = capsys.readouterr().out
        for field in {f.name for f in fields(entry.config)} - positional:
            assert f"--{field.replace('_', '-')}" in text, (verb, field)


def test_the_installed_program_answers_in_words() -> None:
    line = [sys.executable, "-m", "isojepa.cli", "pretrain", "--data", "none", "--out", "run"]
    result = subprocess.run(line, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr == "isojepa: --data none: no such folder\n"


def test_version(capsys: pytest.CaptureFixture) -> None:
    assert isojepa("--version") == 0
    assert capsys.readouterr().out.startswith("isojepa 0")


@pytest.mark.parametrize("name", ["diagnose", "world plan"])
def test_a_named_verb_is_read_as_from_the_whole_table(name: str) -> None:
    words = [*name.split(), *(["x.npy"] if name == "diagnose" else ["--run", "x"])]
    assert list(cli.verbs(words)) == [name]
    assert cli.parse(words, cli.verbs(words)) == cli.parse(words, cli.verbs())


def test_diagnose_imports_neither_timm_nor_the_world() -> None:
    code = "import sys; from isojepa import cli; cli.verbs(['diagnose']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"timm", "torchvision", "isojepa.world", "h5py"} & set(done.stdout.split())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_: object) -> None:
        raise OSError(number, os.strerror(number), "out/x.json")

    table = cli.verbs(["diagnose"])
    monkeypatch.setattr(cli, "verbs", lambda _: {"diagnose": table["diagnose"]._replace(run=full)})
    assert cli.main(["diagnose", "x.npy"]) == 2
    assert (
        f"isojepa: out/x.json: cannot be written ({os.strerror(number)})" in capsys.readouterr().err
    )


LEAVING = """
import atexit, sys
from isojepa import cli

class Torn:
    def __del__(self):
        print("torn down", flush=True)

torn = Torn()
atexit.register(lambda: print("atexit"))
print("unflushed", end="")

def main():
    exec(sys.argv[1])

cli.main = main
cli.program()
"""


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("return 0", 0), ("return 143", 143), ("sys.exit(2)", 2), ("sys.exit()", 0),
        ("sys.exit('why')", 1), ("1 / 0", 1),
    ],
)  # fmt: skip
def test_the_program_ends_at_once_with_its_code_and_all_that_was_printed(
    what: str, code: int
) -> None:
    script = LEAVING.replace("exec(sys.argv[1])", what)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == code
    assert ended.stdout == "unflushedatexit\n", "nothing is taken apart after that"
    assert ("ZeroDivisionError" in ended.stderr) == (what == "1 / 0")
    assert ("why" in ended.stderr) == ("why" in what)


def test_what_an_update_does_not_need_is_not_imported_before_it() -> None:
    code = (
        "import sys; from isojepa import cli; from isojepa.machine import quick_imports\n"
        "with quick_imports(): cli.verbs(['pretrain'])\n"
        "from isojepa.encoders.modalities.registry import MODALITIES, modality\n"
        "[modality(name) for name in MODALITIES]; print(*sys.modules)"
    )
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert "lightning_fabric" in loaded
    assert not loaded & {"torchmetrics", "sklearn", "pandas", "transformers", "bokeh"}


def test_quick_imports_leave_nothing_behind_them() -> None:
    before = sys.modules.get("torchmetrics")
    with suppress(KeyError), quick_imports():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()
    assert sys.modules.get("torchmetrics") is before
