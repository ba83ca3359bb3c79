"""The verb at its edges: names that are not text, a disk that takes no page, cells left out."""

import errno
import os
import shlex
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from isojepa.embeddings.measurement import measure
from isojepa.errors import UserError
from isojepa.pages.embeddings import diagnosis
from isojepa.pages.embeddings.diagnose import DiagnoseConfig, diagnose_file

X = np.random.default_rng(0).standard_normal((40, 3)).round(4)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(diagnosis, "measure", partial(measure, n_null=19, test=False))


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_name_that_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 [a].csv"))
    np.savetxt(path, X, delimiter=",")
    config = DiagnoseConfig(file=path)
    diagnose_file(config)
    assert r"caf\xe9 [a].csv" in config.page.read_text()
    assert r"caf\xe9 [a].csv" in capsys.readouterr().err
    assert shlex.split(config.command)[-1].endswith(r"caf\xe9 [a].csv")


def test_a_page_that_cannot_be_written_leaves_the_diagnosis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    np.save(tmp_path / "x.npy", X)
    monkeypatch.setattr("isojepa.files.tempfile.NamedTemporaryFile", full)
    with pytest.raises(UserError, match=r"x\.npy\.diagnosis\.html: cannot be written \(No space"):
        diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy"))
    assert "40 samples of 3 dimensions" in capsys.readouterr().err


def test_rows_with_cells_that_are_no_numbers_are_left_out_if_asked_for(tmp_path: Path):
    lines = ["a,b,c", *(",".join(map(str, row)) for row in X.tolist()), "<0.1,1.5,2.5"]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    with pytest.raises(UserError, match=r"'<0\.1' in row 40 of column a"):
        diagnose_file(DiagnoseConfig(file=tmp_path / "x.csv"))
    verdict = diagnose_file(DiagnoseConfig(file=tmp_path / "x.csv", drop_nonfinite=True))
    assert any("1 row is not finite" in finding.title for finding in verdict.findings)


def test_no_home_is_no_cache(monkeypatch: pytest.MonkeyPatch):
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert diagnosis.null_cache() is None
