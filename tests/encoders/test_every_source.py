"""From every kind of source the same run: interrupted, gone on with, scored and embedded."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa import machine
from isojepa.encoders import embed, pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation import evaluate
from isojepa.encoders.sources.held_out import read_held_out
from isojepa.runs.checkpoints import newest_intact
from isojepa.training.interrupted import Interrupted
from isojepa.training.optimise import Update
from isojepa.training.recorder import Recorder
from tests.encoders.sources.pictures import encoded, parquet, pixels, shards, table
from tests.encoders.sources.served import serving

N = 40


def folder(place: Path) -> Path:
    place.mkdir()
    for i in range(N):
        (place / f"{i:06}.png").write_bytes(encoded(i))
    return place


def two_folders(place: Path) -> tuple[Path, ...]:
    folder(place)
    for i in range(N // 2, N):
        (place / "b").mkdir(exist_ok=True)
        (place / f"{i:06}.png").rename(place / "b" / f"{i:06}.png")
    (place / "a").mkdir()
    for path in place.glob("*.png"):
        path.rename(place / "a" / path.name)
    return place / "a", place / "b"


def paths(place: Path) -> Path:
    names = [f"{path}\n" for path in folder(place).iterdir()]
    (place.parent / "list.txt").write_text("".join(names))
    return place.parent / "list.txt"


def arrow(place: Path) -> Path:
    import datasets

    datasets.disable_progress_bars()
    datasets.Dataset(table(N)).save_to_disk(place, num_shards=3)
    return place


def npy(place: Path) -> Path:
    place.mkdir()
    np.save(place / "x.npy", np.stack([pixels(i) for i in range(N)]))
    return place / "x.npy"


def npz(place: Path) -> Path:
    place.mkdir()
    np.savez_compressed(place / "x.npz", images=np.stack([pixels(i) for i in range(N)])[..., None])
    return place / "x.npz"


SOURCES: dict[str, Callable[[Path], Path | tuple[Path, ...]]] = {
    "two folders": two_folders,
    "list": paths,
    "tar": lambda place: shards(place, N),
    "parquet": lambda place: parquet(place / "x.parquet", N),
    "saved by datasets": arrow,
    "npy": npy,
    "npz": npz,
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Six updates, all pictures decoded anew at each use."""
    return PretrainConfig(
        data=Path(), out=tmp_path_factory.mktemp("runs") / "run", model="resnet_nano",
        image_size=16, batch_size=16, steps=6, save_every=6, log_every=3, projector_hidden=16,
        projection_dim=4, slices=8, holdout=0.0, device="cpu", tensorboard=False,
        evaluate=False, no_cache=True,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_bytes", lambda: 60_000)  # squares take a quarter


def final(out: Path) -> dict[str, torch.Tensor]:
    return newest_intact(out / "checkpoints")[0].weights


@pytest.fixture(scope="module")
def expected(settings: PretrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run on the folder."""
    data = folder(tmp_path_factory.mktemp("data") / "folder")
    return pretrain.train_encoder(replace(settings, data=data))


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of shards, which are fetched in several attempts."""
    pattern = shards(tmp_path_factory.mktemp("web"), N)
    with serving(pattern.parent) as server:
        server.at_most = 5_000
        yield f"{server.address}/{pattern.name}"


@pytest.mark.parametrize("kind", [*SOURCES, "addresses"])
def test_an_interrupted_run_ends_as_one_on_a_folder_bit_for_bit(
    kind: str, settings: PretrainConfig, expected: Path, tmp_path: Path, web: str
) -> None:
    remote = kind == "addresses"  # which are kept in a cache
    data = Path(web) if remote else SOURCES[kind](tmp_path / "data")
    config = replace(settings, data=data, out=tmp_path / "run", no_cache=not remote)
    remember = Recorder.remember

    def stop_at_3(self: Recorder, update: Update) -> None:  # two batches make an epoch here
        remember(self, update)
        if update.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "remember", stop_at_3)
        with pytest.raises(Interrupted):
            pretrain.train_encoder(config)
    assert newest_intact(config.out / "checkpoints")[0].step == 3
    pretrain.train_encoder(replace(config, resume=True))
    whole, cut = final(expected), final(config.out)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)

    made = embed.EmbedConfig(run=expected, data=data, out=tmp_path / "x.npz", device="cpu")
    with np.load(embed.embed(made)) as found:
        assert found["embeddings"].shape == (N, 128)
        is_array = kind in {"npy", "npz"}  # the others are known by their contents
        assert set(found["split"]) == {"new" if is_array else "train"}
        assert len(set(found["paths"].tolist())) == N


def test_what_was_held_out_is_known_in_another_kind_of_source(
    settings: PretrainConfig, tmp_path: Path
) -> None:
    data = shards(tmp_path / "data", N)
    config = replace(settings, data=data, out=tmp_path / "run", holdout=0.25, steps=2)
    run = pretrain.train_encoder(config)
    record = read_held_out(run)
    assert record.held_out.sum() == N // 4
    scores = evaluate.evaluate(evaluate.EvaluateConfig(run=run, device="cpu"))
    assert scores["encoder"].n_test == N // 4
    shutil.rmtree(tmp_path / "data")
    other = parquet(tmp_path / "x.parquet", N)
    moved = evaluate.evaluate(evaluate.EvaluateConfig(run=run, data=other, device="cpu"))
    assert moved["encoder"].n_test == N // 4
    assert moved["encoder"].linear == scores["encoder"].linear
