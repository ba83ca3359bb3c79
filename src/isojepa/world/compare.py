"""`isojepa world compare`: LeWM and what it has to beat, same data, same updates, same goals."""

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from isojepa.data.trajectories import open_trajectories, split_episodes
from isojepa.errors import UserError
from isojepa.evaluation.evaluate import choose_device
from isojepa.progress import console
from isojepa.run_folder import make_run_folder, provenance, read_metrics, read_run, write_json
from isojepa.training.process import Interrupted
from isojepa.world.environments import make_environments
from isojepa.world.learning import baselines, train
from isojepa.world.learning.config import WorldTrainConfig, model_spec
from isojepa.world.model.encoders import FrozenFeatures
from isojepa.world.model.presets import preset
from isojepa.world.page.comparison import draw, show
from isojepa.world.planning.pairs import Protocol, paired_difference, rate
from isojepa.world.planning.plan_config import (
    PlanConfig,
    Prepared,
    environment_of,
    prepare,
    recipe_of,
)
from isojepa.world.planning.policies import ClonedPolicy
from isojepa.world.planning.recipes import describe
from isojepa.world.planning.scoring import (
    BASELINES,
    Scored,
    baseline_of,
    pairs_of,
    score,
    success_of,
)

log = logging.getLogger(__name__)
OURS, CLONING, FROZEN = "sigreg", "cloning", "frozen"
LABELS = {
    OURS: "LeWM: SIGReg",
    "no-regulariser": "no regulariser",
    "vicreg": "VICReg's terms",
    CLONING: "behaviour cloning",
    "random": "random actions",
    "oracle": "scripted, no noise",
}
MEASURES = ("held_out_prediction", "held_out_rollout_1", "effective_rank", "deviation")


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Train LeWM and its baselines alike and let them reach the same goals; one table."""

    data: Path
    """Episodes, with actions; see isojepa world train."""
    out: Path
    """Folder to write to. An existing one is refused without --resume or --overwrite."""
    env: str | None = None
    """Id of the environment. Default: the one the data set recorded."""
    preset: str = "lewm-micro"
    """lewm, lewm-small or lewm-micro: of all that is trained, but for the frozen encoder."""
    steps: int = 2000
    """Updates of each."""
    seed: int = 0
    """Of everything random: split, order, weights, pairs."""
    seeds: int = 1
    """Train and play anew with this many seeds, from --seed on; success is pooled over them."""

    pairs: int = 200
    """Start and goal pairs, per seed."""
    protocol: Protocol = "strict"
    """strict: from held-out episodes, no pair solved at the start. published: any."""
    offset: int = 25
    """Environment steps from start to goal in the data set."""
    budget: int = 50
    """Environment steps allowed."""

    frozen_encoder: str = baselines.DINO
    """timm name of the network whose frozen features are planned with, as in DINO-WM."""
    frozen_pretrained: bool = True
    """Its published weights, downloaded by timm; otherwise random ones."""
    without: tuple[Literal["no-regulariser", "vicreg", "frozen", "cloning"], ...] = ()
    """Baselines to leave out."""

    device: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Where to train and plan."""
    resume: bool = False
    """Go on with an interrupted comparison: what is trained is kept; all goals are played anew."""
    overwrite: bool = False
    """Delete OUT first."""

    def __post_init__(self) -> None:
        preset(self.preset)
        for name in ("steps", "seeds", "pairs", "offset", "budget"):
            if getattr(self, name) < 1:
                raise UserError(f"--{name} must be at least 1")
        if self.seed < 0:
            raise UserError("--seed must not be negative")
        if self.resume and self.overwrite:
            raise UserError("give --resume or --overwrite, not both")


SHAPES_TRAINING = ("preset", "steps", "frozen_encoder", "frozen_pretrained")


class Contender(NamedTuple):
    """What came of one contender over all seeds; `folders` is empty for those not trained."""

    folders: list[Path]
    scored: list[Scored]


def run(config: CompareConfig) -> dict[str, Any]:
    """Train what is not trained yet, play, print the table; write compare.json and compare.png.

    Each contender is a run folder per seed, OUT/NAME/seed-K.

    Returns:
        What compare.json holds.

    Raises:
        UserError: for anything the user can put right, most of it before anything is trained.
        Interrupted: after Ctrl-C or SIGTERM, once what was being trained is saved.
    """
    if not config.overwrite:
        make_run_folder(config.out, resume=config.resume, overwrite=False)
    if config.resume:
        check_same(config, read_run(config.out)["config"])
    check(config)
    if config.overwrite:
        make_run_folder(config.out, resume=False, overwrite=True)
    if not config.resume:
        write_json(config.out / "config.json", {"config": as_json(config), **described(config)})
    seeds = [config.seed + i for i in range(config.seeds)]
    try:
        folders = [train_all(config, seed) for seed in seeds]
    except Interrupted as stopped:
        stopped.args = (f"{stopped}, or give the same command again with --resume",)
        raise
    played = [play_all(config, each, seed) for each, seed in zip(folders, seeds)]
    prepared = prepare(plan_config(config, folders[0][OURS], seeds[0]))
    contenders = {
        name: Contender([f[name] for f in folders if name in f], [p[name] for p in played])
        for name in played[0]
    }
    result = {
        "environment": prepared.known.id,
        "protocol": config.protocol,
        "contenders": summarise(config, contenders),
        "settings": describe(prepared.recipe),
        "config": as_json(config),
        **described(config),
    }
    write_json(config.out / "compare.json", result)
    draw(result, config.out / "compare.png")
    show(result)
    log.info("%s", config.out / "compare.json")
    return result


def contenders_of(config: CompareConfig, seed: int) -> dict[str, WorldTrainConfig]:
    """How each contender is trained, by name, in the order of training."""
    common = WorldTrainConfig(
        data=config.data,
        out=config.out,
        preset=config.preset,
        steps=config.steps,
        seed=seed,
        device=config.device,
    )
    each = {OURS: replace(common, out=config.out / OURS)} | baselines.baselines(
        common, frozen_encoder=config.frozen_encoder, pretrained=config.frozen_pretrained
    )
    return {
        name: replace(one, out=one.out / f"seed-{seed}")
        for name, one in each.items()
        if name not in config.without
    }


def train_all(config: CompareConfig, seed: int) -> dict[str, Path]:
    """Train every contender with one seed; returns the run folders by name."""
    folders = {}
    for name, one in contenders_of(config, seed).items():
        console.rule(f"Training {label(config, name)}, seed {seed}")
        one = replace(one, resume=(one.out / "config.json").is_file())
        if name == CLONING:
            baselines.train_policy(one)
        else:
            train.run(one)
        folders[name] = one.out
    return folders


def play_all(config: CompareConfig, folders: dict[str, Path], seed: int) -> dict[str, Scored]:
    """How all contenders, trained and scripted, do on the pairs of one seed, by name."""
    ours = prepare(plan_config(config, folders[OURS], seed))
    scored = {}
    for name, folder in folders.items():
        console.rule(f"Playing {label(config, name)}, seed {seed}")
        scored[name] = (
            score_clone(ours, folder, seed)
            if name == CLONING
            else success_of(prepare(plan_config(config, folder, seed)), seed=seed)
        )
    every = {name: baseline_of(ours, name, seed=seed) for name in BASELINES}
    return scored | {name: one for name, one in every.items() if one is not None}


def score_clone(prepared: Prepared, folder: Path, seed: int) -> Scored:
    """Let the cloned policy of a folder act on the pairs of one seed."""
    device = next(prepared.model.parameters()).device
    policy = ClonedPolicy(baselines.load_policy(folder).to(device))
    scored = score(prepared, lambda _: policy, seed=seed, words="cloned policy")
    assert scored is not None
    return scored


def summarise(config: CompareConfig, contenders: dict[str, Contender]) -> dict[str, dict[str, Any]]:
    """One entry per contender: success, the paired difference to LeWM's, seconds and measures."""
    ours = np.concatenate([one.success for one in contenders[OURS].scored])
    entries = {}
    for name, (folders, scored) in contenders.items():
        success = np.concatenate([one.success for one in scored])
        difference = paired_difference(success, ours)
        entries[name] = {
            "label": label(config, name),
            **rate(success).as_json(),
            "difference": None if name == OURS else difference.as_json(),
            "by_seed": [rate(one.success).success for one in scored],
            "training_seconds": [read_run(folder)["seconds"] for folder in folders],
            "held_out": [measures_of(folder) for folder in folders if name != CLONING],
        }
    return entries


def measures_of(folder: Path) -> dict[str, float | None]:
    """The last measures on held-out clips: prediction errors, rank, deviation of the embedding."""
    measured = [line for line in read_metrics(folder) if MEASURES[0] in line]
    return {name: measured[-1].get(name) if measured else None for name in MEASURES}


def label(config: CompareConfig, name: str) -> str:
    """A contender in words."""
    if name == FROZEN:
        encoder = config.frozen_encoder.split(".")[0]
        return f"frozen {encoder}" + ("" if config.frozen_pretrained else ", random weights")
    return LABELS.get(name, name)


def plan_config(config: CompareConfig, folder: Path, seed: int) -> PlanConfig:
    """How a trained world model plans: by the default recipe, as all do."""
    return PlanConfig(
        run=folder,
        env=config.env,
        protocol=config.protocol,
        pairs=config.pairs,
        offset=config.offset,
        budget=config.budget,
        seed=seed,
        films=0,
        device="cuda" if config.device == "gpu" else config.device,
    )


def check(config: CompareConfig) -> None:
    """Find out what would fail after training before it begins.

    Raises:
        UserError: for data without actions or with too few pairs, an environment that cannot be
            played, or a frozen encoder that cannot be built.
    """
    ours, *others = contenders_of(config, config.seed).values()
    plan = plan_config(config, ours.out, config.seed)
    choose_device(plan.device)
    _, spec = model_spec(ours, gpu=False)
    data = open_trajectories(config.data, frame_size=spec.frame_size)
    if not data.action_dim:
        raise UserError(f"--data {config.data}: no actions to plan with, or to clone")
    known = environment_of(plan, data)
    recipe_of(plan, spec)
    make_environments(known.id, 1, frame_size=spec.frame_size).close()
    for seed in range(config.seed, config.seed + config.seeds):
        _, held = split_episodes(len(data), held_out=ours.held_out, seed=seed)
        episodes = held if config.protocol == "strict" else np.arange(len(data))
        pairs_of(plan, known, data, episodes, seed=seed)
    for one in others:
        if one.frozen and not (one.out / "config.json").is_file():
            check_frozen(one)


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
        raise UserError(f"--frozen-encoder {spec.encoder}: {error}") from error
    except (OSError, RuntimeError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"--frozen-encoder {spec.encoder}: its weights cannot be had ({reason}); give "
            "--no-frozen-pretrained for random ones, or --without frozen"
        ) from error


def check_same(config: CompareConfig, stored: dict[str, Any]) -> None:
    """Raise `UserError` if a comparison would go on with others than it began with."""
    asked = as_json(config)
    different = [
        f"--{name.replace('_', '-')} is {asked[name]} but was {stored[name]}"
        for name in SHAPES_TRAINING
        if asked[name] != stored[name]
    ]
    if different:
        raise UserError(
            f"--resume {config.out}: {'; '.join(different)}. Give the same again, or another --out"
        )


def as_json(config: CompareConfig) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def described(config: CompareConfig) -> dict[str, Any]:
    """The command, versions, hardware and time."""
    return provenance(choose_device("cuda" if config.device == "gpu" else config.device))
