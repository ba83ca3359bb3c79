"""What follows from the images and the machine when the user says nothing."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.choices import choose_sizes
from isojepa.encoders.modalities.images.images import Headers
from isojepa.encoders.plan import MOST_STEPS, PretrainPlan, settle, share_held_out, with_steps
from isojepa.errors import UserError
from isojepa.runs.resume import merge_for_resume
from isojepa.runs.settings import as_json

CONFIG = PretrainConfig(data=Path("photos"), out=Path("run"))


def plan(
    short_side: int, channels: int = 3, n: int = 10_000, gpu: bool = False, **said
) -> PretrainPlan:
    config = replace(CONFIG, **said)
    choices = choose_sizes(config, Headers(short_side, channels), gpu=gpu)
    holdout = share_held_out(config, labelled=True)
    return settle(config, choices, modality="images", n_train=n, holdout=holdout)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ((8, 1), {"image_size": 16, "model": "resnet_nano", "recipe": "glyph"}),
        ((32, 3), {"image_size": 32, "model": "resnet_micro", "recipe": "small"}),
        ((3000, 3), {"image_size": 64, "model": "resnet_micro", "recipe": "small"}),
        (
            (3000, 3, 10_000, True),
            {"image_size": 224, "model": "vit_small_patch16_224", "recipe": "photo", "lr": 5e-4},
        ),
    ],
)
def test_size_decides(settings: tuple, expected: dict) -> None:
    settled = plan(*settings).settled()
    assert settled == settled | expected


def test_views_follow_network_and_recipe() -> None:
    vit = plan(3000, gpu=True).choices
    assert (vit.global_views, vit.local_views) == (2, 6)
    convolutional = plan(3000, gpu=True, model="resnet50").choices
    assert (convolutional.global_views, convolutional.local_views) == (2, 0)


@pytest.mark.parametrize(("n", "batch"), [(2, 2), (9, 2), (48, 8), (1000, 128), (10**6, 256)])
def test_batch_fits_the_images(n: int, batch: int) -> None:
    assert plan(32, n=n).batch_size == batch


def test_steps_are_those_asked_for_or_left_to_the_budget() -> None:
    assert plan(32, steps=7).steps == 7
    assert plan(32).steps == MOST_STEPS
    fewer = with_steps(plan(32), CONFIG, 200)
    assert (fewer.steps, fewer.warmup, fewer.probe_every, fewer.save_every) == (200, 20, 20, 100)


def test_minutes_and_steps_exclude_each_other() -> None:
    with pytest.raises(UserError, match="not both"):
        replace(CONFIG, minutes=3.0, steps=10)
    with pytest.raises(UserError, match="--minutes must be positive"):
        replace(CONFIG, minutes=0.0)


def test_one_image_is_not_enough() -> None:
    with pytest.raises(UserError, match="at least 2"):
        plan(32, n=1)


def test_what_is_said_is_kept() -> None:
    said = {"image_size": 48, "model": "resnet18", "recipe": "none", "batch_size": 33, "lr": 0.1}
    settled = plan(8, **said).settled()
    assert settled == settled | said


def test_json_round_trip_for_resuming() -> None:
    asked = replace(CONFIG, lambd=0.02, global_scale=(0.2, 0.9))
    stored = as_json(asked, plan(32, lambd=0.02).settled())
    merged = merge_for_resume(replace(CONFIG, resume=True, device="cpu"), stored)
    assert merged.lambd == 0.02
    assert merged.steps == plan(32).steps
    assert merged.device == "cpu"
    with pytest.raises(UserError, match="--seed is 3 but the run has 0"):
        merge_for_resume(replace(CONFIG, seed=3), stored)


def test_every_open_field_is_settled_by_the_plan() -> None:
    may_stay_open = {"labels", "global_scale", "wandb", "mlflow", "preview", "micro_batch"}
    may_stay_open |= {"save_minutes", "max_minutes", "cache", "length", "minutes", "like"}
    may_stay_open |= {"id_column", "time_column", "label_column"}
    open_fields = {f.name for f in fields(PretrainConfig) if f.default is None}
    assert open_fields - may_stay_open <= set(plan(32).settled())


@pytest.mark.parametrize(
    "wrong",
    [
        {"lambd": 1.5},
        {"knots": 1},
        {"t_max": 0.0},
        {"holdout": 1.0},
        {"batch_size": 0},
        {"micro_batch": 0},
        {"global_scale": (0.5, 0.2)},
        {"resume": True, "overwrite": True},
        {"local_views": -1},
        {"seed": -1},
    ],
)
def test_values_out_of_range_are_named(wrong: dict) -> None:
    name = next(iter(wrong)).replace("_", "-")
    with pytest.raises(UserError, match=f"--{name}"):
        replace(CONFIG, **wrong)


def test_the_weight_follows_the_regulariser() -> None:
    assert plan(32).lambd == 0.05
    assert plan(32, regulariser="visreg").lambd == 0.6
    assert plan(32, regulariser="visreg", lambd=0.2).lambd == 0.2
    assert plan(32, lambd="auto").lambd == "auto"
    with pytest.raises(UserError, match="--lambd auto: batches of 4 are too small"):
        plan(32, lambd="auto", batch_size=4)
    with pytest.raises(UserError, match="not with --regulariser ksd"):
        replace(CONFIG, lambd="auto", regulariser="ksd")
    with pytest.raises(UserError, match="--directions cannot be exact"):
        replace(CONFIG, regulariser="decoupled", directions="exact")
