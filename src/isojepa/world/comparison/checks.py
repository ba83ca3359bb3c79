"""What would fail after training, found before it begins."""

import logging
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.devices import choose_device
from isojepa.errors import UserError
from isojepa.runs.settings import as_json
from isojepa.runs.typed import from_json
from isojepa.world.comparison.config import CompareConfig, contenders_of, plan_config
from isojepa.world.control.config import environment_of, recipe_of
from isojepa.world.control.evaluation import pairs_of
from isojepa.world.environments.worlds import close, make_environments
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.plan import model_spec
from isojepa.world.learning.split import Recorded, divide, find, fingerprints, read_split
from isojepa.world.model.encoders import FrozenFeatures

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainedBy:
    """The settings by which contenders are trained; all must share them."""

    camera: str | None
    preset: str
    steps: int
    frozen_encoder: str
    frozen_pretrained: bool


def comparable_episodes(config: CompareConfig) -> Recorded:
    """Find out what would fail after training before it begins; returns the episodes compared on.

    Raises:
        UserError: for data without actions or with too few pairs, an environment that cannot be
            played, or a frozen encoder that cannot be built.
    """
    ours, *others = contenders_of(config, config.seed).values()
    plan = plan_config(config, ours.out, config.seed)
    choose_device(plan.device)
    _, spec = model_spec(ours, gpu=False)
    data = open_trajectories(config.data, frame_size=spec.frame_size, camera=config.camera)
    if not data.action_dim:
        raise UserError(f"--data {config.data}: no actions to plan with, or to clone")
    known = environment_of(plan, data)
    recipe_of(plan, frame_skip=spec.frame_skip, history=spec.history)
    close(make_environments(known.id, 1, frame_size=spec.frame_size))
    prints = fingerprints(data)
    if config.resume:
        check_same_episodes(config.out, prints)
    for seed in range(config.seed, config.seed + config.seeds):
        held = divide(prints, held_out=ours.held_out, seed=seed)[1].held_out
        episodes = held if config.protocol == "strict" else np.arange(len(data))
        pairs_of(plan, known, data, episodes, seed=seed)
    for one in others:
        if one.frozen:
            check_frozen(one)
    return Recorded(prints, ())


def check_same_episodes(out: Path, prints: tuple[str, ...]) -> None:
    """Raise `UserError` if a comparison would go on with more, fewer or other episodes.

    Contenders trained before and after would not have learnt from the same.
    """
    recorded = read_split(out)
    if recorded is None:
        return
    split = find(recorded, prints)
    missing, new = sum(split.missing), len(split.new)
    if missing or new:
        raise UserError(
            f"--resume {shown(out)}: the data have changed: {missing} of its "
            f"{len(recorded.train)} episodes are missing and {new} are new; restore them or start "
            "a new comparison"
        )


def check_frozen(config: WorldTrainConfig) -> None:
    """Build the frozen encoder once, which downloads its weights.

    Raises:
        UserError: if it cannot be built, or its weights cannot be had.
    """
    _, spec = model_spec(config, gpu=False)
    assert spec.frozen is not None
    if config.pretrained:
        log.info("looking for the weights of %s", spec.encoder)
    try:
        FrozenFeatures(
            spec.encoder, spec.encoder_options, spec.frame_size, features=spec.frozen,
            d=spec.embedding_dim, pretrained=config.pretrained,
        )  # fmt: skip
    except UserError as error:
        other = "--no-frozen-pretrained for random weights, or " if config.pretrained else ""
        raise UserError(
            f"--frozen-encoder {spec.encoder}: {error}; or give {other}--without frozen"
        ) from error


def check_same_training(config: CompareConfig, stored: object) -> None:
    """Raise `UserError` if a comparison would go on with others than it began with.

    Args:
        stored: the configuration in config.json.
    """
    path = config.out / "config.json"
    asked, was = (from_json(TrainedBy, one, path) for one in (as_json(config), stored))
    different = [
        f"--{field.name.replace('_', '-')} is {now} but was {then}"
        for field in fields(TrainedBy)
        if (now := getattr(asked, field.name)) != (then := getattr(was, field.name))
    ]
    if different:
        raise UserError(
            f"--resume {config.out}: {'; '.join(different)}. Give the same again, or another --out"
        )
