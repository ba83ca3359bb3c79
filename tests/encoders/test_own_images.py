"""Strict from beginning to end: resumed runs and scores keep to what the run held out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from isojepa.encoders import embed as export
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation import evaluate
from isojepa.encoders.evaluation.evaluate import EvaluateConfig
from isojepa.encoders.sources.held_out import read_held_out
from isojepa.errors import UserError
from isojepa.runs.record import read_run
from isojepa.workflow import pretrain as whole


@pytest.fixture(scope="module")
def began(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 40 pictures in two classes, a table of four, and a run that used it."""
    place = tmp_path_factory.mktemp("began")
    rng = np.random.default_rng(0)
    rows = ["path,label"]
    for i in range(40):
        path = place / "data" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 12), np.uint8)).save(path)
        rows.append(f"{path.parent.name}/{path.name},{i % 4}")
    (place / "labels.csv").write_text("\n".join(rows))
    pretrain.train_encoder(config(place, labels=place / "labels.csv", holdout=0.3, seed=3))
    return place


def config(place: Path, **more: object) -> PretrainConfig:
    settings = {
        "data": place / "data", "out": place / "run", "model": "resnet_nano", "image_size": 16,
        "batch_size": 4, "steps": 2, "projector_hidden": 16, "projection_dim": 8, "slices": 16,
        "device": "cpu", "tensorboard": False,
    }  # fmt: skip
    return PretrainConfig(**(settings | more))


@pytest.fixture
def place(began: Path, tmp_path: Path) -> Path:
    """A copy of all that, whose run knows its data and its table where they are now."""
    copy = Path(shutil.copytree(began, tmp_path / "copy"))
    made = (copy / "run" / "config.json").read_text()
    (copy / "run" / "config.json").write_text(made.replace(str(began), str(copy)))
    return copy


def resume(place: Path, **more: object) -> None:
    again = {"data": place / "data", "out": place / "run", "resume": True, "device": "cpu"}
    pretrain.train_encoder(PretrainConfig(**(again | more)))


def test_paths_are_absolute(began: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(began)
    out = Path("second")
    pretrain.train_encoder(config(Path(), out=out, labels=Path("labels.csv"), steps=1))
    made = read_run(out).config
    assert (made["data"], made["labels"]) == (str(began / "data"), str(began / "labels.csv"))
    monkeypatch.chdir("/")
    shutil.move(began / "data", began / "gone")
    with pytest.raises(UserError, match=r"its samples were in .*/data, which is not there.*--data"):
        evaluate.evaluate(EvaluateConfig(run=began / out))
    shutil.move(began / "gone", began / "data")
    shutil.rmtree(began / out)


def test_a_resumed_run_keeps_labels_and_held_out_images(place: Path) -> None:
    before = read_held_out(place / "run")
    was = read_run(place / "run")
    shutil.move(place / "data", place / "moved")
    resume(place, data=place / "moved")
    now, after = read_run(place / "run"), read_held_out(place / "run")
    assert now.data == was.data
    assert now.config["labels"].endswith("labels.csv")
    assert after.names == before.names
    assert (after.held_out == before.held_out).all()


def other_labels(place: Path) -> dict:
    lines = (place / "labels.csv").read_text().replace(",3", ",2").splitlines()
    (place / "three.csv").write_text("\n".join(lines))
    return {"labels": place / "three.csv"}


def more_classes(place: Path) -> dict:
    lines = (place / "labels.csv").read_text().splitlines()
    (place / "7.csv").write_text("\n".join(f"{x},{i % 7}" for i, x in enumerate(
        [line.split(",")[0] for line in lines[1:]])))  # fmt: skip
    return {"labels": place / "7.csv"}


def other_pictures(place: Path) -> dict:
    for path in (place / "data").rglob("*.png"):
        Image.new("L", (12, 12), int(path.stem)).save(path)
    return {}


def fewer(place: Path) -> dict:
    (place / "data" / "a" / "00.png").unlink()
    return {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            other_labels,
            r"--labels gives 10 of 40 samples another label.*'b/03\.png': 3 then, 2 now",
        ),
        (more_classes, r"--labels gives \d+ of 40 samples another label"),
        (other_pictures, r"40 of 40 samples have other contents under the same name"),
        (fewer, r"1 of 40 samples are missing \('a/00\.png'\)"),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_what_a_resumed_run_refuses(
    place: Path, change: Callable[[Path], dict], words: str, recorded: bool
) -> None:
    settings = change(place)
    if not recorded:
        (place / "run" / "held_out.tsv").unlink()
        if change is other_pictures:
            return  # names are all that such a run knows
        words = "have changed"
    with pytest.raises(UserError, match=words):
        resume(place, **settings)


def test_new_pictures_and_moved_ones_do_not_stop_a_run(place: Path) -> None:
    before = read_held_out(place / "run")
    Image.new("L", (12, 12)).save(place / "data" / "a" / "new.png")
    (place / "data" / "a" / "00.png").rename(place / "data" / "b" / "was_in_a.png")
    resume(place)
    data = read_run(place / "run").data
    assert (data["images"], data["test"]) == (40, int(before.held_out.sum()))


@pytest.fixture
def tested(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The split of each call of `evaluate`, in place of scores."""
    calls: list[dict] = []

    def note(_encoder: object, images: object, **_: object) -> list:
        names, labels = images.listing.names, images.labels
        known = labels >= 0
        calls.append({
            "test": {n for n, h, k in zip(names, images.held_out, known) if h and k},
            "train": {n for n, h, k in zip(names, images.held_out, known) if not h and k},
            "classes": images.listing.class_names,
        })  # fmt: skip
        return []

    monkeypatch.setattr(evaluate, "scores_of", note)
    monkeypatch.setattr(evaluate, "print_scores", lambda _: None)
    return calls


def scored(place: Path, tested: list[dict], **more: object) -> dict:
    evaluate.evaluate(EvaluateConfig(run=place / "run", device="cpu", **more))
    return tested[-1]


def test_scores_test_only_on_what_was_held_out(place: Path, tested: list[dict]) -> None:
    record = read_held_out(place / "run")
    held = {name for name, h in zip(record.names, record.held_out) if h}
    trained = set(record.names) - held
    assert scored(place, tested)["test"] == held
    rows = [f"{name},{name[0]}" for name in record.names]
    (place / "coarse.csv").write_text("\n".join(rows))
    coarse = scored(place, tested, labels=place / "coarse.csv")
    assert (coarse["test"], coarse["train"], coarse["classes"]) == (held, trained, ["a", "b"])

    gone = sorted(held)[:4]
    for name in gone:
        (place / "data" / name).unlink()
    for i in range(15):
        Image.new("L", (12, 12), i).save(place / "data" / "a" / f"new{i}.png")
    assert scored(place, tested)["test"] == held - set(gone)
    assert scored(place, tested)["train"] == trained
    shutil.move(place / "data", place / "moved")
    moved = scored(place, tested, data=place / "moved")
    assert (moved["test"], moved["train"]) == (held - set(gone), trained)
    assert moved["classes"] == ["0", "1", "2", "3"]  # of the table, though it is not given again


def test_other_pictures_in_the_runs_place_are_not_its_own(place: Path, tested: list[dict]) -> None:
    other_pictures(place)
    with pytest.raises(UserError, match="holds none of the run's 40 samples any more"):
        scored(place, tested)
    assert len(scored(place, tested, data=place / "data")["test"]) == 8  # a fifth of all


def test_another_folder_with_some_of_the_runs_pictures(place: Path, tested: list[dict]) -> None:
    record = read_held_out(place / "run")
    other = place / "other"
    for i in range(60):
        path = other / "ab"[i % 2] / f"x{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (12, 12), i).save(path)
    trained = [n for n, h in zip(record.names, record.held_out) if not h][:12]
    for i, name in enumerate(trained):
        shutil.copy(place / "data" / name, other / "a" / f"copy{i}.png")
    split = scored(place, tested, data=other)
    assert len(split["test"]) >= 10
    assert not any("copy" in name for name in split["test"])
    assert sum("copy" in name for name in split["train"]) == 12


def test_runs_without_a_record_use_their_own_seed_and_share(
    place: Path, tested: list[dict]
) -> None:
    record = read_held_out(place / "run")
    held = {name for name, h in zip(record.names, record.held_out) if h}
    (place / "run" / "held_out.tsv").unlink()
    shutil.move(place / "data", place / "moved")
    split = scored(place, tested, data=place / "moved", labels=place / "labels.csv")
    assert split["test"] == held


def test_embeddings_say_what_the_run_did_with_each(place: Path) -> None:
    Image.new("L", (12, 12)).save(place / "data" / "a" / "new.png")
    export.embed(export.EmbedConfig(run=place / "run", data=place / "data", out=place / "e.npz"))
    arrays = np.load(place / "e.npz")
    record = read_held_out(place / "run")
    expected = {n: "held out" if h else "train" for n, h in zip(record.names, record.held_out)}
    assert dict(zip(arrays["paths"], arrays["split"])) == expected | {"a/new.png": "new"}


@pytest.mark.parametrize("rows", [["x"] * 40, []], ids=["one class", "header only"])
def test_without_scores_there_is_a_report_and_a_reason(place: Path, rows: list[str]) -> None:
    names = read_held_out(place / "run").names
    lines = ["path,label", *(f"{n},{r}" for n, r in zip(names, rows))]
    (place / "few.csv").write_text("\n".join(lines))
    out = whole(config(place, out=place / "few", labels=place / "few.csv"))
    assert (out / "report.html").is_file()
    assert not (out / "scores.json").is_file()
    assert len(read_run(out).data["no_scores"]) > 10
    assert "no scores" in (out / "log.txt").read_text()


def test_copies_on_both_sides_are_counted(place: Path) -> None:
    record = read_held_out(place / "run")
    a, b = (record.names[np.flatnonzero(record.held_out == h)[0]] for h in (False, True))
    shutil.copy(place / "data" / a, place / "data" / b)
    out = whole(
        config(place, out=place / "again", labels=place / "labels.csv", seed=3, holdout=0.3)
    )
    assert read_run(out).data["repeated"] == 1
    scores = json.loads((out / "scores.json").read_text())
    assert {row["n_repeated"] for row in scores.values()} == {1}


def test_a_run_inside_its_data(place: Path) -> None:
    inside = place / "data"
    settings = config(place, out=inside / "run")
    pretrain.train_encoder(settings)
    assert read_run(inside / "run").data["classes"] == ["a", "b"]
    pretrain.train_encoder(replace(settings, resume=True))
    assert read_run(inside / "run").data["images"] == 40
    with pytest.raises(UserError, match=r"--preview .*: lies in --data"):
        pretrain.train_encoder(config(place, out=place / "x", preview=inside / "v.png"))
