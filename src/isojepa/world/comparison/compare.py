"""`isojepa world compare`: LeWM and what it has to beat, same data, same updates, same goals."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from isojepa.devices import choose_device
from isojepa.progress import console
from isojepa.runs.folder import (
    make_run_folder,
    provenance,
    read_metrics,
    read_run,
    write_json,
)
from isojepa.runs.settings import as_json
from isojepa.training.interrupted import Interrupted
from isojepa.world.comparison.checks import check, check_same
from isojepa.world.comparison.config import (
    CLONING,
    OURS,
    CompareConfig,
    contenders_of,
    label,
    plan_config,
)
from isojepa.world.comparison.show import draw, show
from isojepa.world.control.config import Prepared, prepare
from isojepa.world.control.pairs import paired_difference, rate
from isojepa.world.control.policies import ClonedPolicy
from isojepa.world.control.recipes import describe
from isojepa.world.control.scoring import (
    BASELINES,
    Scored,
    baseline_of,
    score,
    success_of,
)
from isojepa.world.learning import baselines, train
from isojepa.world.learning.split import write_record

log = logging.getLogger(__name__)
MEASURES = ("held_out_prediction", "held_out_rollout_1", "effective_rank", "deviation")


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
    episodes = check(config)
    if config.overwrite:
        make_run_folder(config.out, resume=False, overwrite=True)
    if not config.resume:
        write_json(config.out / "config.json", {"config": as_json(config), **described(config)})
        write_record(config.out, episodes)
    seeds = [config.seed + i for i in range(config.seeds)]
    try:
        folders = [train_all(config, seed) for seed in seeds]
    except Interrupted as stopped:
        at, _ = str(stopped).split(";")
        stopped.args = (f"{at}; go on with the same command and --resume",)
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
    show(result)
    write_json(config.out / "compare.json", result)
    draw(result, config.out / "compare.png")
    log.info("%s", config.out / "compare.json")
    return result


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


def described(config: CompareConfig) -> dict[str, Any]:
    """The command, versions, hardware and time."""
    return provenance(choose_device(config.device))
