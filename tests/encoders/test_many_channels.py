"""Runs on numbers: satellites' and microscopes' channels, in units of their own."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from isojepa import load_encoder, workflow
from isojepa.encoders import embed, pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation import evaluate
from isojepa.encoders.export import export
from isojepa.encoders.modalities.images.headers import read_headers
from isojepa.encoders.modalities.images.ranges import sampled_ranges
from isojepa.encoders.modalities.images.read import READING
from isojepa.encoders.modalities.modality import Given, Place
from isojepa.encoders.sources.folder import list_folder
from isojepa.errors import UserError
from isojepa.progress import untracked
from isojepa.runs.checkpoints import newest_intact
from isojepa.training.interrupted import Interrupted
from isojepa.training.optimise import Update
from isojepa.training.recorder import Recorder

C = 5


def scene(i: int) -> np.ndarray:
    """Five channels of very different units: stripes, upright or across."""
    rng = np.random.default_rng(i)
    wave = np.sin(np.arange(20) * 2 * np.pi / rng.uniform(3, 6) + rng.uniform(0, 6))
    plane = np.tile(wave, (20, 1)) + rng.normal(0, 0.05, (20, 20))
    plane = plane if i % 2 else plane.T
    scales, shifts = np.array([1, 100, 1e-4, 3000, 1]), np.array([0, -50, 0, 8000, 270])
    return (plane[..., None] * scales + shifts).astype(np.float32)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    for i in range(40):
        place = root / ("across", "upright")[i % 2]
        place.mkdir(exist_ok=True)
        options = {"planarconfig": "contig", "photometric": "minisblack"}
        tifffile.imwrite(place / f"{i:02}.tif", scene(i), **options)
    return root


@pytest.fixture
def settings(scenes: Path, tmp_path: Path) -> PretrainConfig:
    return PretrainConfig(
        data=scenes, out=tmp_path / "run", model="resnet_nano", image_size=16, batch_size=16,
        steps=6, save_every=6, log_every=3, projector_hidden=16, projection_dim=4, slices=8,
        device="cpu", tensorboard=False,
    )  # fmt: skip


def test_headers_and_ranges_follow_from_the_files(scenes: Path) -> None:
    listing = list_folder(scenes)
    headers = read_headers(listing)
    assert (headers.short_side, headers.channels, headers.ranged) == (20, C, True)
    assert headers.mixed is None
    ranges, note = sampled_ranges(listing, C)
    values = np.concatenate([scene(i).reshape(-1, C) for i in range(40)])
    expected = np.percentile(values.astype(np.float64), [0.1, 99.9], axis=0).T
    np.testing.assert_allclose(ranges, expected, rtol=1e-6)
    assert note.startswith("numbers of 5 channels: black to white is")


def test_a_whole_run_with_scores_and_report(settings: PretrainConfig, tmp_path: Path) -> None:
    run = workflow.pretrain(settings)
    spec = load_encoder(run).spec
    assert spec.channels == len(spec.ranges) == len(spec.mean) == C
    made = json.loads((run / "config.json").read_text())
    assert made["config"]["channels"] == C
    assert made["data"]["ranges"] == [list(x) for x in spec.ranges]
    for name in ("views.png", "report.html", "scores.json"):
        assert (run / name).stat().st_size > 100
    with Image.open(run / "views.png") as picture:
        assert picture.mode == "RGB"
    with np.load(run / "sample.npz") as sample:
        assert sample["thumbnails"].shape[-1] == 3

    asked = embed.EmbedConfig(run=run, data=settings.data, out=tmp_path / "x.npz", device="cpu")
    with np.load(embed.embed(asked)) as found:
        vectors = dict(zip(found["paths"].tolist(), found["embeddings"]))
    encoder = load_encoder(run)
    with torch.no_grad():
        one = encoder(encoder.preprocess(scene(3))[None])[0].numpy()
    np.testing.assert_allclose(vectors["upright/03.tif"], one, atol=1e-5)
    with pytest.raises(UserError, match="give an array"):
        encoder.preprocess(Image.new("RGB", (8, 8)))
    with pytest.raises(UserError, match="4 channels where 5 are read"):
        encoder.preprocess(scene(0)[..., :4])
    with pytest.raises(UserError, match=r"numbers of 5 channels.*load_encoder"):
        export.export(export.ExportConfig(run=run, format="timm"))


def test_an_interrupted_run_keeps_its_ranges_and_ends_the_same(
    settings: PretrainConfig, tmp_path: Path
) -> None:
    settings = replace(settings, data=shutil.copytree(settings.data, tmp_path / "data"))
    whole = pretrain.train_encoder(settings)
    cut = replace(settings, out=tmp_path / "cut")
    remember = Recorder.remember

    def stop_at_3(self: Recorder, update: Update) -> None:
        remember(self, update)
        if update.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "remember", stop_at_3)
        with pytest.raises(Interrupted):
            pretrain.train_encoder(cut)
    extreme = scene(99) * 1e6  # would change every range
    tifffile.imwrite(tmp_path / "data" / "across" / "99.tif", extreme, planarconfig="contig",
                     photometric="minisblack")  # fmt: skip
    pretrain.train_encoder(replace(cut, resume=True))
    weights = [newest_intact(out / "checkpoints")[0].weights for out in (whole, cut.out)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_arrays_of_the_same_numbers_give_the_same_scores(
    settings: PretrainConfig, tmp_path: Path
) -> None:
    run = pretrain.train_encoder(settings)
    scores = evaluate.evaluate(evaluate.EvaluateConfig(run=run, device="cpu"))
    order = sorted(range(40), key=lambda i: (("across", "upright")[i % 2], f"{i:02}"))
    np.savez(tmp_path / "x.npz", images=np.stack([scene(i) for i in order]),
             labels=[i % 2 for i in order])  # fmt: skip
    other = evaluate.evaluate(
        evaluate.EvaluateConfig(run=run, data=tmp_path / "x.npz", holdout=0.2, device="cpu")
    )
    assert other["encoder"].n_test == scores["encoder"].n_test == 8


def test_mixed_counts_of_channels_are_refused_or_left_out(
    settings: PretrainConfig, scenes: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(scenes, tmp_path / "mixed")
    for i in range(10):
        Image.new("RGB", (20, 20)).save(data / "across" / f"photo{i}.png")
    with pytest.raises(UserError) as caught:
        pretrain.train_encoder(replace(settings, data=data))
    assert "mixed channel counts: 10 of 3 (for example 'across/photo0.png'), 40 of 5" in str(
        caught.value
    )
    for i in range(1, 10):
        (data / "across" / f"photo{i}.png").unlink()
    run = pretrain.train_encoder(replace(settings, data=data, out=tmp_path / "few"))
    assert "photo0.png\t3 channels where 5 are read" in (run / "skipped.tsv").read_text()


def test_grey_heights_in_metres_are_read(tmp_path: Path) -> None:
    for i in range(8):
        heights = np.random.default_rng(i).integers(-400, 8000, (16, 16)).astype(np.int16)
        tifffile.imwrite(tmp_path / f"{i}.tif", heights)
    told: list[str] = []
    config = PretrainConfig(data=tmp_path, out=tmp_path / "run", model="resnet_nano")
    source = READING.find(Place(tmp_path), untracked)
    _, form = READING.choose(Given(config, source, None, False, None, told.append))
    ((low, high),) = form.ranges
    assert low < -300
    assert high > 7900
    assert any(line.startswith("numbers of one channel") for line in told)
    data = READING.read(source, form, untracked)
    assert len(data) == 8
    assert data.read([0]).pixels.float().std() > 50
