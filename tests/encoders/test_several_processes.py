"""Embeddings, scores and diagnoses shared among processes are those of one."""

import json
import multiprocessing
import shutil
import subprocess
import sys
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist

from isojepa.embeddings import samples
from isojepa.encoders import embed, pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.embed import EmbedConfig
from isojepa.encoders.evaluation import evaluate
from isojepa.encoders.evaluation.evaluate import EvaluateConfig
from isojepa.encoders.evaluation.features import share_of_batches
from isojepa.errors import UserError
from isojepa.pages.embeddings import diagnose
from isojepa.pages.embeddings.diagnose import DiagnoseConfig


@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 100])
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_are_whole_batches_and_all_of_them(n: int, world: int) -> None:
    parts = [range(n)[share_of_batches(n, 4, r, world)] for r in range(world)]
    assert [i for part in parts for i in part] == list(range(n))
    assert all(part.start % 4 == 0 for part in parts if part)
    sizes = [-(-len(part) // 4) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.fixture(scope="module")
def photos(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures, and two files that hold none."""
    root = tmp_path_factory.mktemp("photos") / "photos"
    shutil.copytree(pictures, root)
    (root / "across" / "1a.jpg").write_bytes(b"no picture")
    (root / "upright" / "9z.jpg").write_bytes(b"")
    return root


def _as_one_of(rank: int, world: int, place: str, job: Any) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=world)
    for verb in (embed, evaluate, diagnose):
        verb.start_processes = lambda *_: torch.device("cpu")  # type: ignore[attr-defined]
    job()
    dist.barrier()
    dist.destroy_process_group()


def in_processes(world: int, place: Path, job: Any) -> None:
    """Do the job in so many processes at once; all have to end well."""
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_as_one_of, args=(rank, world, str(place), job))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0] * world


@pytest.mark.parametrize("world", [2, 3])
def test_processes_embed_and_score_as_one_does(
    quick: PretrainConfig, photos: Path, tmp_path: Path, world: int
) -> None:
    run = pretrain.train_encoder(replace(quick, data=photos, max_skipped=0.1))
    one = {"device": "cpu", "batch_size": 4, "data": photos}
    embed.embed(EmbedConfig(run=run, out=tmp_path / "one.npz", **one))
    embed.embed(EmbedConfig(run=run, out=tmp_path / "one.parquet", **one))
    evaluate.evaluate(EvaluateConfig(run=run, device="cpu", out=tmp_path / "one.json"))

    def job() -> None:
        some = one | {"devices": world}
        embed.embed(EmbedConfig(run=run, out=tmp_path / "some.npz", **some))
        embed.embed(EmbedConfig(run=run, out=tmp_path / "some.parquet", **some))
        evaluate.evaluate(
            EvaluateConfig(run=run, device="cpu", devices=world, out=tmp_path / "some.json")
        )

    in_processes(world, tmp_path / "store", job)
    with np.load(tmp_path / "one.npz") as whole, np.load(tmp_path / "some.npz") as shared:
        assert whole.files == shared.files
        for name in whole.files:
            if name != "embeddings":
                assert whole[name].tolist() == shared[name].tolist()
        assert len(shared["embeddings"]) == 48
        np.testing.assert_allclose(shared["embeddings"], whole["embeddings"], rtol=1e-5, atol=1e-5)
    tables = [pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "some")]
    assert tables[0].drop(["embedding"]).equals(tables[1].drop(["embedding"]))
    listed = [(tmp_path / f"{name}.npz.skipped.tsv") for name in ("one", "some")]
    assert [p.exists() for p in listed] in ([True, True], [False, False])
    scores = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "some")]
    assert scores[0] == scores[1]


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize(("n", "d"), [(700, 24), (60, 90), (22, 4)])
def test_processes_diagnose_as_one_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: int, n: int, d: int
) -> None:
    monkeypatch.setattr(samples, "BLOCK_ELEMENTS", 50 * d)  # blocks of 50 rows
    rng = np.random.default_rng(0)
    x = rng.standard_t(4, (n, d)).astype(np.float32)
    x[7, 1], x[11], x[-3] = np.nan, x[12], 300
    np.save(tmp_path / "x.npy", x)
    options = {"drop_nonfinite": True, "max_samples": 300}
    whole = diagnose.diagnose_file(DiagnoseConfig(file=tmp_path / "x.npy", **options))

    def job() -> None:
        config = DiagnoseConfig(
            file=tmp_path / "x.npy", devices=world, out=tmp_path / "some.html", **options
        )
        found = diagnose.diagnose_file(config)
        if dist.get_rank() == 0:
            assert_identical(found.measurement, whole.measurement)
            assert found.verdict == whole.verdict

    in_processes(world, tmp_path / "store", job)
    pages = [(tmp_path / name).read_text() for name in ("x.npy.diagnosis.html", "some.html")]
    assert len(pages[0]) == pytest.approx(len(pages[1]), rel=0.01)


def assert_identical(one: Any, other: Any) -> None:
    """Equal bit for bit, through tuples and dataclasses; functions are not compared."""
    assert type(one) is type(other)
    if is_dataclass(one):
        for field in fields(one):
            assert_identical(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_identical(a, b)
    elif not callable(one):
        assert one == other or (one != one and other != other)


def test_more_processes_than_batches_is_no_mistake(quick: PretrainConfig, tmp_path: Path) -> None:
    run = pretrain.train_encoder(replace(quick, steps=1))
    out = tmp_path / "some.npz"

    def job() -> None:
        embed.embed(EmbedConfig(run=run, data=quick.data, out=out, devices=2, device="cpu"))

    in_processes(2, tmp_path / "store", job)
    with np.load(out) as file:
        assert file["embeddings"].shape[0] == 48


def test_processes_that_were_started_have_to_be_asked_for(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = pretrain.train_encoder(replace(quick, steps=1))
    for name, value in {
        "TORCHELASTIC_RUN_ID": "x",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "4",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="give --devices 4"):
        embed.embed(EmbedConfig(run=run, data=quick.data, out=tmp_path / "x.npz", device="cpu"))
    with pytest.raises(UserError, match="--devices must be at least 1"):
        EmbedConfig(run=run, data=quick.data, out=tmp_path / "x.npz", devices=0)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), ("torch.distributed.run", "--nproc-per-node", "2", "-m")])
def test_the_command_starts_its_processes(
    quick: PretrainConfig, tmp_path: Path, launcher: tuple[str, ...]
) -> None:
    run = pretrain.train_encoder(replace(quick, steps=1))
    out = tmp_path / "x.npz"
    words = ["embed", run, "--data", quick.data, "--out", out, "--devices", "2", "--device", "cpu"]
    command = [sys.executable, "-m", *launcher, "isojepa.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(out) as file:
        assert file["embeddings"].shape[0] == 48
    assert done.stderr.count("48 embeddings") == 1, "one voice"
