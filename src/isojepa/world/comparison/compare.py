"""`isojepa world compare`: LeWM and what it has to beat, same data, same updates, same goals."""

import logging
from dataclasses import replace
from pathlib import Path

from isojepa.devices import choose_device
from isojepa.progress import console
from isojepa.runs.folder import Provenance, make_run_folder, provenance, write_json
from isojepa.runs.record import read_run
from isojepa.runs.settings import as_json
from isojepa.runs.typed import from_json, write_result
from isojepa.training.interrupted import Interrupted
from isojepa.world.comparison.checks import check_same_training, comparable_episodes
from isojepa.world.comparison.config import (
    CLONING,
    OURS,
    CompareConfig,
    contenders_of,
    label,
    plan_config,
)
from isojepa.world.comparison.picture import draw_comparison
from isojepa.world.comparison.results import (
    NOTE,
    ComparisonResult,
    Contender,
    comparison_table,
    contender_results,
)
from isojepa.world.control.config import Control, open_control
from isojepa.world.control.evaluation import (
    BASELINES,
    Scored,
    baseline_of,
    evaluate_policy,
    success_of,
)
from isojepa.world.control.results import RecordedConfig, RecordedRecipe
from isojepa.world.control.scripted import ClonedPolicy
from isojepa.world.learning import cloning, train
from isojepa.world.learning.split import write_split

log = logging.getLogger(__name__)


def compare(config: CompareConfig) -> ComparisonResult:
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
        check_same_training(config, read_run(config.out).config)
    episodes = comparable_episodes(config)
    if config.overwrite:
        make_run_folder(config.out, resume=False, overwrite=True)
    made = provenance(choose_device(config.device))
    if not config.resume:
        write_json(config.out / "config.json", {"config": as_json(config), **made})
        write_split(config.out, episodes)
    seeds = [config.seed + i for i in range(config.seeds)]
    try:
        folders = [train_all(config, seed) for seed in seeds]
    except Interrupted as stopped:
        raise stopped.to_go_on_with("the same command and --resume") from None
    played = [play_all(config, each, seed) for each, seed in zip(folders, seeds)]
    control = open_control(plan_config(config, folders[0][OURS], seeds[0]))
    contenders = {
        name: Contender([f[name] for f in folders if name in f], [p[name] for p in played])
        for name in played[0]
    }
    out = config.out / "compare.json"
    result = ComparisonResult(
        environment=control.known.id,
        protocol=config.protocol,
        contenders=contender_results(config, contenders),
        recipe=from_json(RecordedRecipe, control.recipe.as_json(), out),
        config=from_json(RecordedConfig, as_json(config), out),
        provenance=Provenance(**made),
    )
    console.print(comparison_table(result))
    console.print(NOTE, highlight=False)
    write_result(out, result)
    draw_comparison(result, config.out / "compare.png")
    log.info("%s", out)
    return result


def train_all(config: CompareConfig, seed: int) -> dict[str, Path]:
    """Train every contender with one seed; returns the run folders by name."""
    folders = {}
    for name, one in contenders_of(config, seed).items():
        console.rule(f"Training {label(config, name)}, seed {seed}")
        one = replace(one, resume=(one.out / "config.json").is_file())
        if name == CLONING:
            cloning.train_policy(one)
        else:
            train.train_world_model(one)
        folders[name] = one.out
    return folders


def play_all(config: CompareConfig, folders: dict[str, Path], seed: int) -> dict[str, Scored]:
    """How all contenders, trained and scripted, do on the pairs of one seed, by name."""
    ours = open_control(plan_config(config, folders[OURS], seed))
    scored = {}
    for name, folder in folders.items():
        console.rule(f"Playing {label(config, name)}, seed {seed}")
        scored[name] = (
            score_clone(ours, folder, seed)
            if name == CLONING
            else success_of(open_control(plan_config(config, folder, seed)), seed=seed)
        )
    every = {name: baseline_of(ours, name, seed=seed) for name in BASELINES}
    return scored | {name: one for name, one in every.items() if one is not None}


def score_clone(control: Control, folder: Path, seed: int) -> Scored:
    """Let the cloned policy of a folder act on the pairs of one seed."""
    policy = ClonedPolicy(cloning.load_cloned_policy(folder).to(control.model.device))
    scored = evaluate_policy(control, lambda *_: policy, seed=seed, words="cloned policy")
    assert scored is not None
    return scored
