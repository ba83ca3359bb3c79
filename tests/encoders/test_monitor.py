"""Runs that are made to fail, each named; healthy ones raise nothing; and what is then done."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from isojepa.embeddings.alarm import ADVICE, PATIENCE, STATES, Course, Vitals, judge
from isojepa.embeddings.monitor import Collapsed, read_alarms, sample_faults
from isojepa.embeddings.vitals import Spread
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.jepa import JEPA
from isojepa.pages.encoder.page import write_encoder_page
from isojepa.runs.checkpoints import list_checkpoints, newest_intact
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_run

Spoil = Callable[[JEPA], None]


@pytest.fixture
def watched(quick: PretrainConfig) -> PretrainConfig:
    """Sixty updates, looked at every fifth."""
    return replace(quick, steps=60, log_every=5, save_every=10, evaluate=False)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """96 different pictures, each of three bright spots: the stripes nearly fill a line."""
    folder = tmp_path_factory.mktemp("blobs")
    rng, grid = np.random.default_rng(0), np.arange(20)
    for i in range(96):
        picture = np.zeros((20, 20))
        for y, x, width in zip(*rng.uniform(2, 18, (2, 3)), rng.uniform(1, 4, 3)):
            squared = (grid[:, None] - y) ** 2 + (grid - x) ** 2
            picture += np.exp(-squared / (2 * width**2))
        pixels = (255 * picture / picture.max()).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def run(config: PretrainConfig, spoil: Spoil | None = None) -> list[str]:
    """The states that a run was told to be in."""
    build_jepa = pretrain.build_jepa

    def spoilt(*arguments: object) -> JEPA:
        jepa = build_jepa(*arguments)
        if spoil is not None:
            spoil(jepa)
        return jepa

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "build_jepa", spoilt)
        pretrain.train_encoder(config)
    return [alarm.state for alarm in read_alarms(config.out)]


@torch.no_grad()
def on_a_line(jepa: JEPA) -> None:
    last = jepa.projector[-1]
    last.weight.copy_(last.weight[:1].expand_as(last.weight).clone())


@torch.no_grad()
def dead_projector(jepa: JEPA) -> None:
    for parameter in jepa.projector.parameters():
        parameter.zero_().requires_grad_(False)


def faint_encoder(jepa: JEPA) -> None:
    """What it says is a constant and a thousandth; the projector's batch norm lifts that."""
    jepa.encoder.register_forward_hook(lambda _module, _inputs, out: 1 + 1e-3 * out)


def constant_pictures(folder: Path) -> Path:
    for i in range(48):
        place = folder / ("dark" if i % 2 else "light") / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 40 + 4 * i, np.uint8)).save(place)
    return folder


def copied_pictures(folder: Path) -> Path:
    few = np.random.default_rng(0).integers(0, 255, (6, 20, 20), dtype=np.uint8)
    for i in range(48):
        place = folder / ("a" if i % 2 else "b") / f"{i}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(few[i % 6]).save(place)
    return folder


@pytest.mark.parametrize(
    ("settings", "spoil", "expected"),
    [
        ({"lr": 1e-7}, None, "slow"),
        ({"lr": 1e-2, "lambd": 0.0}, None, "complete collapse"),
        ({}, on_a_line, "dimensional collapse"),
        ({}, dead_projector, "projector collapse"),
        ({}, faint_encoder, "encoder collapse"),
        ({"lambd": 0.99}, None, "lambda far too large"),
        ({"lr": 3.0}, None, "learning rate too high"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_run_that_fails_is_named(
    watched: PretrainConfig, settings: dict, spoil: Spoil | None, expected: str
) -> None:
    assert run(replace(watched, **settings), spoil)[:1] == [expected]
    lines = read_metrics(watched.out)
    assert STATES.index(expected) in {line["alarm"] for line in lines}
    log = (watched.out / "log.txt").read_text()
    assert f"{expected}: " in log
    assert ADVICE[expected].remedy in log
    assert f"Alarm during training: {expected}" in write_encoder_page(watched.out).read_text()


@pytest.mark.parametrize("make", [constant_pictures, copied_pictures])
def test_faults_of_the_data_are_named(
    watched: PretrainConfig, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    data = make(tmp_path / "data")
    assert run(replace(watched, data=data, steps=30, holdout=0.0))[:1] == ["data fault"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lambd": "auto"},
        {"lr": 5e-3},
        {"regulariser": "vicreg"},
        {"regulariser": "decoupled"},
        {"batch_size": 8, "seed": 3},
    ],
    ids=str,
)
def test_a_healthy_run_raises_nothing(watched: PretrainConfig, blobs: Path, settings: dict) -> None:
    assert run(replace(watched, data=blobs, steps=80, **settings)) == []
    assert {line["alarm"] for line in read_metrics(watched.out)} == {0}
    assert not (watched.out / "alarms.json").exists()


def test_stop_ends_the_run_with_the_remedy(watched: PretrainConfig) -> None:
    with pytest.raises(Collapsed, match=r"dimensional collapse: .*--regulariser decoupled"):
        run(replace(watched, on_collapse="stop"), on_a_line)
    assert read_metrics(watched.out)[-1]["step"] < 60


class CollapseOnce:
    """After 21 updates the projector's last layer forgets all directions but one, once."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, jepa: JEPA) -> None:
        def hook(module: nn.Module, _inputs: object) -> None:
            self.calls += module.training
            if self.calls == 22:
                on_a_line(jepa)

        jepa.projector.register_forward_pre_hook(hook)


def test_recover_goes_back_and_on_with_decoupled_sigreg(watched: PretrainConfig) -> None:
    config = replace(watched, on_collapse="recover", keep=9)
    assert run(config, CollapseOnce()) == ["dimensional collapse"]
    (alarm,) = read_alarms(config.out)
    assert alarm.rolled_back_to == 20
    made = read_run(config.out).config
    assert (made["regulariser"], made["lambd"]) == ("decoupled", 0.05)
    assert [line["step"] for line in read_metrics(config.out)] == [1, *range(5, 61, 5)]
    assert "went on with decoupled SIGReg" in write_encoder_page(config.out).read_text()

    whole, _ = newest_intact(config.out / "checkpoints")
    for path in list_checkpoints(config.out / "checkpoints")[-2:]:
        shutil.rmtree(path)
    pretrain.train_encoder(
        replace(config, resume=True)
    )  # what follows a recovery is an ordinary run
    again, _ = newest_intact(config.out / "checkpoints")
    assert again.step == whole.step == 60
    assert all(torch.equal(again.weights[name], x) for name, x in whole.weights.items())
    assert len(read_alarms(config.out)) == 1


def test_what_collapses_again_is_stopped(watched: PretrainConfig) -> None:
    def always(jepa: JEPA) -> None:
        jepa.projector.register_forward_pre_hook(lambda *_: on_a_line(jepa))

    with pytest.raises(Collapsed, match="stopped again, with decoupled SIGReg"):
        run(replace(watched, on_collapse="recover"), always)
    assert read_alarms(watched.out)[0].rolled_back_to is not None


def test_the_monitor_is_part_of_the_checkpoint(watched: PretrainConfig) -> None:
    pretrain.train_encoder(replace(watched, steps=30))
    state = newest_intact(watched.out / "checkpoints")[0].state["monitor"]
    assert (state["looks"], state["state"]) == (7, "healthy")
    assert [v["step"] for v in state["last"]] == [10, 15, 20, 25, 30]


# The judgement alone


def vitals(step: int, **changes: object) -> Vitals:
    spread = Spread(deviation=0.9, share=0.9, dimension=6.0, d=16)
    usual = {"loss": 0.3, "lambd": 0.05, "disagreement": 0.2}
    usual |= {"embeddings": spread, "projections": spread}
    return Vitals(step=step, **(usual | changes))


def test_nothing_is_told_of_collapse_before_the_warm_up_is_over() -> None:
    course = Course(steps=100, warmup=10, usual=0.05)
    point = Spread(deviation=0.01, share=0.1, dimension=4.0, d=16)
    assert judge([vitals(1)], [vitals(20, projections=point)], 0.3, course) == "healthy"
    assert judge([vitals(1)], [vitals(60, projections=point)], 0.3, course) == "projector collapse"


def test_a_usual_weight_is_not_too_large() -> None:
    course = Course(steps=100, warmup=10, usual=0.05)
    for lambd, expected in ((0.05, "healthy"), (0.5, "lambda far too large")):
        apart = [vitals(90, disagreement=0.9, lambd=lambd)]
        assert judge([vitals(1)], apart, 0.3, course) == expected


def test_every_state_has_its_advice() -> None:
    assert set(ADVICE) == set(STATES)
    assert all(advice.remedy for state, advice in ADVICE.items() if state != "healthy")
    assert PATIENCE > 1


def test_sample_faults() -> None:
    samples = torch.rand(10, 3, 8, 8)
    assert sample_faults(samples) == (0, 0)
    samples[5:8] = samples[0]
    samples[9] = 0.5
    repeated, constant = sample_faults(samples)
    assert repeated == pytest.approx(0.3)
    assert constant == pytest.approx(0.1)
    assert sample_faults(torch.ones(8, 3)) == (0, 0)  # a table's rows may well be alike
