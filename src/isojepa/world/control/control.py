"""`isojepa world plan`: reach image goals with a trained world model, beside its baselines."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.runs.settings import as_json
from isojepa.runs.typed import write_result
from isojepa.world.control.config import Control, PlanConfig, open_control
from isojepa.world.control.evaluation import (
    BASELINES,
    PLANNING,
    Scored,
    baseline_of,
    pairs_of,
    success_of,
)
from isojepa.world.control.manifest import AGAIN, freeze, read_manifest
from isojepa.world.control.outcomes import Keeper
from isojepa.world.control.pairs import Pairs
from isojepa.world.control.results import ControlResult, control_result, print_control
from isojepa.world.control.videos import write_video
from isojepa.world.learning.goal_networks import FOLDER

log = logging.getLogger(__name__)
ELSEWHERE = {"out", "films", "device", "baselines", "manifest", "suite"}
"""Settings on which no pair's outcome depends."""


def plan(config: PlanConfig) -> ControlResult:
    """Play all pairs, print the table, and write control.json and a video.

    An interrupted evaluation goes on with the same command.

    Returns:
        What control.json holds.

    Raises:
        UserError: for an unknown environment, too few pairs, a data set with other actions than the
            model's, a horizon beyond the budget, or a missing package.
    """
    out = config.out or config.run / "control.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    control = open_control(config)
    frozen = pairs_asked(control, [config], config.manifest)
    return play(control, frozen[config.asked], out)


def seeds_of(config: PlanConfig) -> list[int]:
    """The seeds of the evaluations."""
    return [config.seed + i for i in range(config.seeds)]


def pairs_asked(
    control: Control, configs: list[PlanConfig], manifest: Path | None, *, fewer: bool = False
) -> dict[str, dict[int, Pairs]]:
    """The pairs of each configuration and seed: from a manifest, or drawn and written there.

    Args:
        fewer: take what there is, if there are too few goals ahead.

    Raises:
        UserError: if the manifest does not fit the environment, the data or what is asked, or there
            are too few pairs.
    """
    known, data, protocol = control.known, control.trajectories, control.config.protocol
    if manifest is not None and manifest.is_file():
        found = read_manifest(manifest, data, known, protocol)
        for config in configs:
            _check_frozen(manifest, config, found, control)
        return found
    drawn = {
        config.asked: {
            seed: pairs_of(config, known, data, control.episodes, seed=seed, fewer=fewer)
            for seed in seeds_of(config)
        }
        for config in configs
    }
    if manifest is not None:
        freeze(manifest, drawn, data, known, protocol)
        log.info("pairs: %s", manifest)
    return drawn


def _check_frozen(
    manifest: Path, config: PlanConfig, found: Mapping[str, Mapping[int, Pairs]], control: Control
) -> None:
    if config.asked not in found:
        has = ", ".join(found) or "none"
        raise UserError(f"{shown(manifest)}: no goals {config.asked}, only {has}; {AGAIN}")
    seeds = found[config.asked]
    absent = [seed for seed in seeds_of(config) if seed not in seeds]
    if absent:
        raise UserError(
            f"{shown(manifest)}: pairs of the seeds {', '.join(map(str, seeds))}, none of "
            f"{absent[0]}; {AGAIN}"
        )
    unseen = set(control.episodes.tolist())
    for seed in seeds_of(config):
        pairs = seeds[seed]
        if len(pairs.start) > config.pairs:
            raise UserError(
                f"{shown(manifest)}: {len(pairs.start)} pairs {config.asked}, not {config.pairs}; "
                f"give --pairs {len(pairs.start)}, or {AGAIN}"
            )
        foreign = {*pairs.episode.tolist(), *pairs.goal_episode.tolist()} - unseen
        if foreign:
            raise UserError(
                f"{shown(manifest)}: {len(foreign)} of its episodes are not among those held out "
                f"from {shown(config.run)}; give --data with others, or {AGAIN}"
            )


def play(control: Control, pairs: Mapping[int, Pairs], out: Path) -> ControlResult:
    """Play the pairs of each seed, print the table, and write the result and a video.

    Args:
        pairs: by seed.
        out: where to; what is played is kept in OUT.part until all is.
    """
    config, seeds = control.config, seeds_of(control.config)
    keeper = Keeper(out.with_name(f"{out.name}.part"), evaluation_key(control, pairs))
    if keeper.batches:
        log.info("%d parts that were played before are kept", len(keeper.batches))
    first, *rest = seeds
    scored: dict[str, list[Scored]] = {}
    try:
        filmed = success_of(
            control, seed=first, films=config.films, pairs=pairs[first], keeper=keeper
        )
        others = [success_of(control, seed=s, pairs=pairs[s], keeper=keeper) for s in rest]
        scored[PLANNING] = [filmed, *others]
        for name in BASELINES if config.baselines else ():
            each = [
                baseline_of(control, name, seed=s, pairs=pairs[s], keeper=keeper) for s in seeds
            ]
            if all(one is not None for one in each):
                scored[name] = [one for one in each if one is not None]
    except KeyboardInterrupt:
        log.info("interrupted: what was played is kept; go on with the same command")
        raise
    result = control_result(control, scored, seeds)
    print_control(result)
    write_result(out, result)
    if filmed.video is not None:
        write_video(out.with_suffix(".gif"), filmed.video)
    keeper.close()
    log.info("%s", out)
    return result


def evaluation_key(control: Control, pairs: Mapping[int, Pairs]) -> str:
    """Of all that outcomes depend on: settings, recipe, pairs and weights."""
    settings = {k: v for k, v in as_json(control.config).items() if k not in ELSEWHERE}
    drawn = {seed: [x.tolist() for x in one[:4]] for seed, one in pairs.items()}
    digest = hashlib.sha256(
        json.dumps([settings, control.recipe.as_json(), drawn], sort_keys=True).encode()
    )
    weights_of = ("world_model", FOLDER) if control.networks else ("world_model",)
    for weights in sorted(
        file for name in weights_of for file in (control.config.run / name).glob("*.safetensors")
    ):
        with reading(weights, "weights"):
            digest.update(weights.read_bytes())
    return digest.hexdigest()
