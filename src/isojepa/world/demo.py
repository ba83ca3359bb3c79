"""`isojepa world demo`: the whole path on TwoRoom, from raw pixels to reaching image goals."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from isojepa.errors import UserError
from isojepa.progress import console
from isojepa.run_folder import write_json
from isojepa.world import collect
from isojepa.world.learning import train as training
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.page.page import write_world_page
from isojepa.world.planning import control
from isojepa.world.understanding import decoder, probing, surprise

log = logging.getLogger(__name__)
ENVIRONMENT = "swm/TwoRoom-v1"


@dataclass(frozen=True, kw_only=True)
class WorldDemoConfig:
    """Collect, train, probe, plan and report on TwoRoom: twelve minutes on two processor cores."""

    out: Path = Path("world-demo-run")
    """Folder to write to; replaced if an earlier demo made it."""
    episodes: int = 400
    """Episodes of the noisy scripted policy to learn from."""
    steps: int = 2000
    """Updates of the world model."""
    pairs: int = 200
    """Start and goal pairs of each protocol, 25 steps apart."""
    seed: int = 0
    """Of everything random."""


def run(config: WorldDemoConfig) -> Path:
    """Run the demo; returns the page.

    Writes OUT/two-room.h5 and OUT/run with the model, probes.json, surprise.json, decoder/,
    control.json (held-out episodes, no pair solved at the start), control-published.json and
    report.html.

    Raises:
        UserError: if OUT holds something else, or the packages of the extra `world` are missing.
    """
    data, folder = config.out / "two-room.h5", config.out / "run"
    if config.out.exists() and not data.exists() and any(config.out.iterdir()):
        raise UserError(f"--out {config.out}: something else is already there; choose another")
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def clock(stage: str) -> None:
        nonlocal began
        seconds[stage], began = time.monotonic() - began, time.monotonic()

    console.rule("Collecting episodes")
    collect.run(
        collect.CollectConfig(
            env=ENVIRONMENT,
            out=data,
            episodes=config.episodes,
            seed=config.seed,
            overwrite=data.exists(),
        )
    )
    clock("collect")
    console.rule("Training from pixels, with two loss terms")
    training.run(
        WorldTrainConfig(
            data=data,
            out=folder,
            preset="lewm-micro",
            steps=config.steps,
            seed=config.seed,
            overwrite=(folder / "config.json").is_file(),
        )
    )
    clock("train")
    console.rule("What the embeddings hold")
    probing.run(probing.ProbeConfig(run=folder))
    surprise.run(surprise.SurpriseConfig(run=folder))
    decoder.run(decoder.DecodeConfig(run=folder))
    clock("probe")
    console.rule("Reaching image goals")
    strict = control.run(control.PlanConfig(run=folder, pairs=config.pairs, seed=config.seed))
    published = control.run(
        control.PlanConfig(
            run=folder,
            pairs=config.pairs,
            seed=config.seed,
            protocol="published",
            films=0,
            out=folder / "control-published.json",
        )
    )
    clock("plan")
    page = write_world_page(folder)
    clock("page")
    write_json(folder / "seconds.json", seconds)
    for name, result in (("strict", strict), ("published", published)):
        low, high = result["interval"]
        log.info(
            "%s protocol: %.1f %% of %d goals reached [%.1f, %.1f]",
            *(name, 100 * result["success"], result["pairs"], 100 * low, 100 * high),
        )
    log.info("%s, in %.0f s", page, sum(seconds.values()))
    return page
