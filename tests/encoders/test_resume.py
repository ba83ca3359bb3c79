"""Going on with a run: what was said is compared with it, what was not said stays as it was."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from isojepa import cli
from isojepa.encoders.config import PretrainConfig
from isojepa.errors import UserError
from isojepa.runs.resume import merge_for_resume, resumed
from isojepa.runs.settings import as_json, said
from isojepa.world.learning.config import WorldTrainConfig

PLACES = {"data": Path("photos"), "out": Path("run")}
KINDS: dict[str, Any] = {"pretrain": PretrainConfig, "world train": WorldTrainConfig}


def by_command(verb: str, settings: dict[str, Any]) -> Any:
    """The configuration that a command line with these settings makes."""
    words = [*verb.split(), "--data", "photos", "--out", "run"]
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}={value}"] if name == "seed" else [f"--{name}", str(value)]
    return cli.parse(words, cli.verbs())


def by_call(verb: str, settings: dict[str, Any]) -> Any:
    return KINDS[verb](**PLACES, **settings)


def by_replacing(verb: str, settings: dict[str, Any]) -> Any:
    return replace(KINDS[verb](**PLACES), **settings)


CALLERS = {"command": by_command, "call": by_call, "replace": by_replacing}

# (verb, the run's value, the default that is said when resuming)
EQUAL_TO_DEFAULT = [
    ("pretrain", "lambd", 0.01, 0.05),
    ("pretrain", "weight_decay", 0.1, 0.05),
    ("pretrain", "seed", 3, 0),
    ("pretrain", "clip", 2.0, 1.0),
    ("pretrain", "slices", 64, 1024),
    ("pretrain", "precision", "32-true", "auto"),
    ("pretrain", "devices", 2, 1),
    ("world train", "held_out", 0.3, 0.1),
    ("world train", "frame_skip", 2, 5),
    ("world train", "seed", 3, 0),
    ("world train", "regulariser", "vicreg", "sigreg"),
]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("verb", "name", "was", "default"), EQUAL_TO_DEFAULT)
def test_a_default_that_is_said_is_compared_and_one_that_is_not_is_left(
    caller: str, verb: str, name: str, was: Any, default: Any
) -> None:
    config = KINDS[verb]
    stored = as_json(config(**PLACES, **{name: was}))
    explicit = CALLERS[caller](verb, {name: default, "resume": True})
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--{flag} is {default} but the run has {was}"):
        merge_for_resume(explicit, stored)
    silent = CALLERS[caller](verb, {"resume": True})
    assert getattr(merge_for_resume(silent, stored), name) == was


STAYS = [
    ("pretrain", "keep", 6, 2),
    ("pretrain", "log_every", 1, 10),
    ("pretrain", "tensorboard", False, True),
    ("pretrain", "evaluate", False, True),
    ("pretrain", "labels", Path("t.csv"), Path("u.csv")),
    ("pretrain", "wandb", "ours", "theirs"),
    ("pretrain", "device", "cpu", "auto"),
    ("pretrain", "save_every", 7, 8),
    ("world train", "log_every", 1, 20),
    ("world train", "keep", 6, 2),
    ("world train", "cache", Path("c"), Path("d")),
    ("world train", "tensorboard", False, True),
]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(("verb", "name", "was", "other"), STAYS)
def test_what_may_differ_stays_unless_it_is_said(
    caller: str, verb: str, name: str, was: Any, other: Any
) -> None:
    config = KINDS[verb]
    stored = as_json(config(**PLACES, **{name: was}))
    for settings, expected in (({}, was), ({name: other}, other)):
        asked = CALLERS[caller](verb, {**settings, "resume": True})
        assert getattr(merge_for_resume(asked, stored), name) == expected


def test_said_survives_replacing_and_copying() -> None:
    config = PretrainConfig(**PLACES, lambd=0.05)
    assert said(config) == {"data", "out", "lambd"}
    later = replace(pickle.loads(pickle.dumps(config)), slices=1024)
    assert said(later) == {"data", "out", "lambd", "slices"}
    assert later == PretrainConfig(**PLACES, lambd=0.05)


def test_a_value_with_dashes_or_underscores_is_seen_on_a_command_line() -> None:
    words = ["pretrain", "--data=photos", "--out", "run", "--log_every", "10", "--no-tensorboard"]
    config = cli.parse(words, cli.verbs())
    assert said(config) == {"data", "out", "log_every", "tensorboard"}


def test_more_steps_train_on_and_fewer_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    stored = as_json(PretrainConfig(**PLACES, steps=10))
    longer = PretrainConfig(**PLACES, steps=20, resume=True)
    assert merge_for_resume(longer, stored).steps == 20
    assert "the learning rate follows the schedule of 20 updates" in caplog.text
    with pytest.raises(UserError, match=r"--steps is 5 but the run has 10.*larger"):
        merge_for_resume(replace(longer, steps=5), stored)


def test_the_same_words_may_be_said_again_where_they_were_settled_otherwise() -> None:
    first = PretrainConfig(**PLACES, image_size=100, resume=True)
    stored = as_json(first, {"model": None, "image_size": 96})
    assert stored["asked"] == {"image_size": 100}
    assert merge_for_resume(first, stored).image_size == 96
    with pytest.raises(UserError, match="--image-size is 90 but the run has 96"):
        merge_for_resume(replace(first, image_size=90), stored)


@pytest.mark.parametrize(
    "harm",
    [
        {"lambd": "0.05"}, {"steps": 1.5}, {"steps": True}, {"recipe": "oil"}, {"data": 7},
        {"global_scale": [0.1]}, {"tensorboard": "yes"}, {"seed": None}, {"lambd": 7.0},
        {"asked": [1]},
    ],
    ids=str,
)  # fmt: skip
def test_a_damaged_record_is_named(harm: dict[str, Any]) -> None:
    stored = as_json(PretrainConfig(**PLACES)) | harm
    with pytest.raises(UserError, match=r"run/config\.json.*" + next(iter(harm))):
        merge_for_resume(PretrainConfig(**PLACES, resume=True), stored)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": 3, "data": {}}', "\udcff", "null"])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config\.json"):
        resumed(PretrainConfig(data="x", out=tmp_path, resume=True))


@pytest.mark.parametrize("make", [PretrainConfig, WorldTrainConfig])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), -float("inf")])
def test_numbers_that_are_not_finite_are_refused_by_name(make: Any, value: float) -> None:
    for name in ("lr", "weight_decay", "lambd"):
        with pytest.raises(UserError, match=f"--{name.replace('_', '-')} is .*finite"):
            make(**PLACES, **{name: value})


@pytest.mark.parametrize(
    "wrong",
    [{"t_max": 1e30}, {"knots": 10**9}, {"slices": 10**9}, {"clip": 1e30}, {"warmup": -1},
     {"seed": 10**30}, {"image_size": 10**6}],
    ids=str,
)  # fmt: skip
def test_settings_have_limits(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        PretrainConfig(**PLACES, **wrong)
