"""Whole runs: what they write, that they resume exactly, and how they stop."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from isojepa import load_encoder
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images import views as image_views
from isojepa.encoders.modalities.modality import Batch, Views
from isojepa.errors import UserError
from isojepa.objective.regularisers import WEIGHTS, RegulariserName
from isojepa.runs.checkpoints import list_checkpoints, load_checkpoint, newest_intact
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_divergence
from isojepa.training import recorder as recording
from isojepa.training.interrupted import Interrupted
from isojepa.training.optimise import Update
from isojepa.training.recorder import Diverged, Recorder


def final(out: Path) -> dict[str, torch.Tensor]:
    checkpoint, _ = newest_intact(out / "checkpoints")
    return checkpoint.weights


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_a_run_folder_holds_everything(quick: PretrainConfig) -> None:
    out = pretrain.train_encoder(replace(quick, tensorboard=True))
    made = json.loads((out / "config.json").read_text())
    assert made["config"]["steps"] == 8
    assert made["data"]["classes"] == ["across", "upright"]
    assert (made["data"]["train"], made["data"]["test"]) == (38, 10)
    assert {p.name for p in out.iterdir()} == {
        *("config.json", "metrics.jsonl", "log.txt", "skipped.tsv", "views.png", "sample.npz"),
        *("checkpoints", "encoder", "tensorboard", "held_out.tsv"),
    }
    steps = sorted(p.name for p in (out / "checkpoints").iterdir())
    assert steps == ["best", "step-00000004", "step-00000008"]
    lines = read_metrics(out)
    assert [line["step"] for line in lines] == [1, 2, 4, 6, 8]
    assert {"loss", "invariance", "sigreg", "effective_rank", "probe_accuracy"} <= lines[-1].keys()
    assert len(list((out / "tensorboard").iterdir())) == 1
    encoder = load_encoder(out)
    assert encoder(torch.zeros(1, 1, 16, 16)).shape == (1, 128)
    with Image.open(out / "views.png") as picture:
        assert picture.width > 300


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"micro_batch": 5, "directions": "exact"},
        {"regulariser": "visreg"},
        {"lambd": "auto"},
        {"lambd": "auto", "micro_batch": 5},
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(
    quick: PretrainConfig, options: dict
) -> None:
    quick = replace(quick, **options)
    quick = replace(quick, steps=12, probe_every=5)  # update 5, where it stops, is to be probed
    whole = pretrain.train_encoder(quick)
    cut = replace(quick, out=quick.out.with_name("cut"))
    remember = Recorder.remember

    def stop_at_5(self: Recorder, update: Update) -> None:
        remember(self, update)
        if update.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "remember", stop_at_5)
        with pytest.raises(Interrupted) as stopped:
            pretrain.train_encoder(cut)
    assert stopped.value.number == signal.SIGTERM
    assert newest_intact(cut.out / "checkpoints")[0].step == 5
    pretrain.train_encoder(replace(cut, resume=True))
    assert same(final(whole), final(cut.out))
    timing = {"images_per_second"}
    a, b = (
        [{k: v for k, v in line.items() if k not in timing} for line in read_metrics(out)]
        for out in (whole, cut.out)
    )
    assert a == b


def test_the_same_seed_gives_the_same_weights_and_another_does_not(quick: PretrainConfig) -> None:
    first = final(pretrain.train_encoder(quick))
    again = final(pretrain.train_encoder(replace(quick, out=quick.out.with_name("again"))))
    other = final(pretrain.train_encoder(replace(quick, out=quick.out.with_name("other"), seed=1)))
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("name", ["exact", "decoupled", "visreg", "vicreg", "ksd"])
def test_regularisers_by_name(quick: PretrainConfig, name: RegulariserName) -> None:
    out = pretrain.train_encoder(replace(quick, regulariser=name, steps=2))
    made = json.loads((out / "config.json").read_text())["config"]
    assert (made["regulariser"], made["lambd"]) == (name, WEIGHTS[name])
    line = read_metrics(out)[-1]
    mixed = (1 - WEIGHTS[name]) * line["invariance"] + WEIGHTS[name] * line["sigreg"]
    assert line["loss"] == pytest.approx(mixed, rel=1e-5)
    assert "lambda" in (out / "log.txt").read_text()


def test_lambda_zero_collapses_the_spread(quick: PretrainConfig) -> None:
    settings = {"steps": 40, "lr": 1e-2, "recipe": "glyph"}
    kept = pretrain.train_encoder(replace(quick, **settings))
    lost = pretrain.train_encoder(
        replace(quick, **settings, lambd=0.0, out=quick.out.with_name("lost"))
    )
    kept, lost = read_metrics(kept)[-1], read_metrics(lost)[-1]
    assert lost["invariance"] < 0.1 * kept["invariance"]
    assert lost["sigreg"] > 1.5 * kept["sigreg"]


def test_a_module_passed_from_python(quick: PretrainConfig) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(256, 12))
    out = pretrain.train_encoder(replace(quick, model=None), network)
    encoder = load_encoder(out, nn.Sequential(nn.Flatten(), nn.Linear(256, 12)))
    assert encoder.embedding_dim == 12


def test_local_views_and_a_transformer(quick: PretrainConfig) -> None:
    settings = {"model": "test_vit", "image_size": 32, "recipe": "photo", "steps": 2}
    out = pretrain.train_encoder(replace(quick, **settings))
    made = json.loads((out / "config.json").read_text())["config"]
    assert (made["global_views"], made["local_views"]) == (2, 6)


def test_preview_writes_the_picture_and_nothing_else(quick: PretrainConfig, tmp_path: Path) -> None:
    picture = tmp_path / "look.png"
    assert pretrain.train_encoder(replace(quick, preview=picture)) == picture
    assert picture.is_file()
    assert not quick.out.exists()


def test_fewer_images_than_the_batch(quick: PretrainConfig) -> None:
    with pytest.raises(UserError, match=r"batch-size 100: there are only 38 training samples"):
        pretrain.train_encoder(replace(quick, batch_size=100))
    out = pretrain.train_encoder(replace(quick, batch_size=None))
    assert json.loads((out / "config.json").read_text())["config"]["batch_size"] == 8


def test_unknown_model(quick: PretrainConfig) -> None:
    with pytest.raises(UserError, match="did you mean resnet18"):
        pretrain.train_encoder(replace(quick, model="resnt18"))
    assert not quick.out.exists()


def test_an_existing_run_is_refused_and_may_be_replaced(quick: PretrainConfig) -> None:
    pretrain.train_encoder(replace(quick, steps=2))
    with pytest.raises(UserError, match=r"--resume.*--overwrite"):
        pretrain.train_encoder(quick)
    pretrain.train_encoder(replace(quick, steps=3, overwrite=True))
    assert read_metrics(quick.out)[-1]["step"] == 3


def test_what_is_no_run_is_never_overwritten(quick: PretrainConfig) -> None:
    quick.out.mkdir()
    (quick.out / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="choose another"):
            pretrain.train_encoder(replace(quick, overwrite=overwrite))
    assert (quick.out / "thesis.tex").exists()


def test_resuming_with_other_settings_names_them(quick: PretrainConfig, pictures: Path) -> None:
    pretrain.train_encoder(quick)
    other = replace(quick, resume=True, lambd=0.2, steps=9)
    with pytest.raises(UserError, match=r"--lambd is 0.2 but the run has 0.05; --steps is 9"):
        pretrain.train_encoder(other)
    with pytest.raises(UserError, match="no run there"):
        pretrain.train_encoder(replace(quick, out=quick.out.with_name("none"), resume=True))
    # Left out, the run's own settings hold.
    pretrain.train_encoder(PretrainConfig(data=pictures, out=quick.out, resume=True, device="cpu"))


def test_resuming_on_other_data_is_refused(quick: PretrainConfig, tmp_path: Path) -> None:
    pretrain.train_encoder(quick)
    (tmp_path / "other").mkdir()
    Image.new("L", (20, 20)).save(tmp_path / "other" / "a.png")
    with pytest.raises(UserError, match="data have changed"):
        pretrain.train_encoder(replace(quick, resume=True, data=tmp_path / "other"))


def test_a_damaged_checkpoint_is_passed_over(quick: PretrainConfig) -> None:
    whole = final(pretrain.train_encoder(quick))
    newest = quick.out / "checkpoints" / "step-00000008"
    (newest / "model.safetensors").write_bytes(b"cut short")
    pretrain.train_encoder(replace(quick, resume=True))
    assert same(whole, load_checkpoint(newest).weights)
    for path in (quick.out / "checkpoints").glob("*/meta.json"):
        path.write_text("{}")
    with pytest.raises(UserError, match="no intact checkpoint is left"):
        pretrain.train_encoder(replace(quick, resume=True))


def test_too_many_unreadable_files(quick: PretrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for i in range(20):
        Image.new("L", (20, 20), 10 * i).save(folder / f"{i}.png")
    for i in range(3):
        (folder / f"bad{i}.jpg").write_text("no image")
    settings = replace(quick, data=folder, steps=2, batch_size=4)
    with pytest.raises(UserError, match=r"3 of 23 files skipped.*--max-skipped 0.14"):
        pretrain.train_encoder(settings)
    assert (quick.out / "skipped.tsv").read_text().count("not an image") == 3
    pretrain.train_encoder(replace(settings, max_skipped=0.14))
    assert json.loads((quick.out / "config.json").read_text())["data"]["skipped"] == 3


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = image_views.VIEWING.views

    def poisoned(batch: Batch, step: int, **settings: Any) -> Views:
        views = original(batch, step, **settings)
        return views._replace(large=views.large * float("nan")) if step == 5 else views

    monkeypatch.setattr(image_views.VIEWING, "views", poisoned)
    with pytest.raises(Diverged, match=r"update 6.*learning rate.*update 4 is kept"):
        pretrain.train_encoder(quick)
    kept, _ = newest_intact(quick.out / "checkpoints")
    assert kept.step == 4
    assert all(x.isfinite().all() for x in kept.weights.values())


def poison_after(update: int, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight of the encoder is overwritten after an update, before it may be saved."""
    remember = Recorder.remember

    def poisoned(self: Recorder, made: Update) -> None:
        remember(self, made)
        if made.step == update:
            with torch.no_grad():
                next(self.model.parameters()).view(-1)[0] = value

    monkeypatch.setattr(Recorder, "remember", poisoned)


def test_a_weight_that_is_finite_and_absurd_is_not_saved(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain.train_encoder(replace(quick, out=quick.out.with_name("whole")))
    with monkeypatch.context() as patch:
        poison_after(4, 3e38, patch)
        with pytest.raises(Diverged, match=r"3e\+38 in encoder.* at update 4.*update 2 is kept"):
            pretrain.train_encoder(replace(quick, save_every=2))
    assert read_divergence(quick.out).step == 4
    pretrain.train_encoder(replace(quick, save_every=2, resume=True))
    assert same(final(whole), final(quick.out))


def test_a_checkpoint_with_such_a_weight_is_left_aside(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain.train_encoder(replace(quick, out=quick.out.with_name("whole")))
    with monkeypatch.context() as patch:
        patch.setattr(recording, "what_is_wrong", lambda _: None)  # as it was written before
        poison_after(4, 3e38, patch)
        with pytest.raises(Diverged):
            pretrain.train_encoder(replace(quick, save_every=2, log_every=9))
    assert (quick.out / "checkpoints" / "step-00000004").is_dir()
    pretrain.train_encoder(replace(quick, save_every=2, resume=True))
    assert "step-00000004 is of no use" in (quick.out / "log.txt").read_text()
    assert same(final(whole), final(quick.out))


def test_a_checkpoint_that_diverges_at_once_is_set_aside_the_second_time(
    quick: PretrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pretrain.train_encoder(replace(quick, out=quick.out.with_name("whole")))
    quick = replace(quick, save_every=2)
    original = image_views.VIEWING.views

    def poisoned(batch: Batch, step: int, **settings: Any) -> Views:
        views = original(batch, step, **settings)
        return views._replace(large=views.large * float("nan")) if step == 4 else views

    monkeypatch.setattr(image_views.VIEWING, "views", poisoned)
    with pytest.raises(Diverged, match="update 4 is kept"):  # it may be the update's fault
        pretrain.train_encoder(quick)
    with pytest.raises(Diverged, match="update 2 is kept"):
        pretrain.train_encoder(replace(quick, resume=True))
    names = {path.name for path in (quick.out / "checkpoints").iterdir()} - {"best"}
    assert names == {"step-00000002", "diverges-step-00000004"}
    monkeypatch.setattr(image_views.VIEWING, "views", original)
    pretrain.train_encoder(replace(quick, resume=True))
    assert same(final(whole), final(quick.out))


def test_time_that_is_up_saves_and_stops_and_the_rest_is_the_same(quick: PretrainConfig) -> None:
    whole = pretrain.train_encoder(replace(quick, out=quick.out.with_name("whole")))
    for step in (1, 2, 3):
        with pytest.raises(Interrupted, match=f"update {step};") as stopped:
            pretrain.train_encoder(replace(quick, max_minutes=1e-9, resume=step > 1))
        assert stopped.value.number == 0
    pretrain.train_encoder(replace(quick, max_minutes=60.0, resume=True))
    assert same(final(whole), final(quick.out))


def test_minutes_save_between_the_usual_checkpoints(quick: PretrainConfig) -> None:
    pretrain.train_encoder(replace(quick, steps=3, save_every=100, save_minutes=1e-9, keep=9))
    names = [p.name for p in list_checkpoints(quick.out / "checkpoints")]
    assert names == ["step-00000001", "step-00000002", "step-00000003"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_exit_with_their_code(
    quick: PretrainConfig, pictures: Path, number: signal.Signals
) -> None:
    command = [
        *(sys.executable, "-m", "isojepa.cli", "pretrain", "--data", pictures, "--out", quick.out),
        *("--steps", "100000", "--batch-size", "16", "--slices", "16", "--device", "cpu"),
    ]
    process = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not read_metrics(quick.out) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number, said
    assert "go on with the same command and --resume" in said
    assert "Traceback" not in said
    checkpoint, complaints = newest_intact(quick.out / "checkpoints")
    assert checkpoint.step >= 1
    assert complaints == []
