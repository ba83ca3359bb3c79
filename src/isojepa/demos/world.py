"""`isojepa world demo`: the whole path on TwoRoom, from raw pixels to reaching image goals."""

import hashlib
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.pages.world.page import write_world_page
from isojepa.progress import console
from isojepa.runs.folder import write_json
from isojepa.runs.typed import read_result, write_result
from isojepa.training.interrupted import Interrupted
from isojepa.version import __version__
from isojepa.world.analysis import decoder, probing, surprise
from isojepa.world.collection.collect import collect
from isojepa.world.collection.collected import read_collection
from isojepa.world.collection.record import CollectConfig
from isojepa.world.control.config import PlanConfig
from isojepa.world.control.control import plan
from isojepa.world.control.results import ControlResult
from isojepa.world.learning import train as training
from isojepa.world.learning.config import WorldTrainConfig

log = logging.getLogger(__name__)
ENVIRONMENT = "swm/TwoRoom-v1"
RECORD = "demo.json"
AGAIN = "the same command"


@dataclass(frozen=True, kw_only=True)
class WorldDemoConfig:
    """Collect, train, probe, plan and report on TwoRoom: six minutes on two processor cores.

    After an interruption the same command goes on: what is whole and was made with the same
    settings is kept.
    """

    out: Path = Path("world-demo-run")
    """Folder to write to; an earlier demo of other settings there is replaced."""
    episodes: int = 400
    """Episodes of the noisy scripted policy to learn from."""
    steps: int = 2000
    """Updates of the world model."""
    pairs: int = 200
    """Start and goal pairs of each protocol, 25 steps apart."""
    seed: int = 0
    """Of everything random."""


class Step(NamedTuple):
    """One part of the demo."""

    name: str
    title: str
    make: Callable[[], object]
    file: Path
    """What it leaves, or the last of it."""


class FinishedPart(NamedTuple):
    """What is recorded of a part that is whole."""

    seconds: float
    sha256: str
    """Of its file: one that was damaged, or replaced by other settings', is made anew."""


@dataclass(frozen=True)
class DemoRecord:
    """What demo.json holds."""

    settings: dict[str, object] = field(default_factory=dict)
    done: dict[str, FinishedPart] = field(default_factory=dict)
    """By the parts' names."""


def world_demo(config: WorldDemoConfig) -> Path:
    """Run the demo, or what is left of it; returns the page.

    Writes OUT/two-room.h5 and OUT/run with the model, probes.json, surprise.json, decoder/,
    control.json (held-out episodes, no pair solved at the start), control-published.json and
    report.html; OUT/demo.json says what is done.

    Raises:
        UserError: if OUT holds something else, or the packages of the extra `world` are missing.
        Interrupted: after Ctrl-C or SIGTERM while it trains; the same command goes on.
    """
    settings = {k: v for k, v in asdict(config).items() if k != "out"} | {"version": __version__}
    done = parts_done(config.out, settings)
    anew = False
    for step in steps_of(config):
        if not anew and step.name in done and _digest(step.file) == done[step.name].sha256:
            log.info("%s: already there, kept", step.title)
            continue
        anew = True  # what follows was made from what is made now
        console.rule(step.title)
        clock = time.monotonic()
        try:
            step.make()
        except Interrupted as stopped:
            raise stopped.to_go_on_with(AGAIN) from None
        except KeyboardInterrupt:
            log.info("interrupted: go on with %s", AGAIN)
            raise
        done[step.name] = FinishedPart(round(time.monotonic() - clock, 3), _digest(step.file))
        write_result(config.out / RECORD, DemoRecord(settings, done))
    folder = config.out / "run"
    page = folder / "report.html"
    seconds = {name: one.seconds for name, one in done.items()}
    write_json(folder / "seconds.json", seconds)
    for name, file in (("strict", "control"), ("published", "control-published")):
        rate = read_result(ControlResult, folder / f"{file}.json").rate
        log.info(
            "%s protocol: %.1f %% of %d goals reached [%.1f, %.1f]",
            *(name, 100 * rate.success, rate.pairs, *(100 * end for end in rate.interval)),
        )
    log.info("%s, in %.0f s", page, sum(seconds.values()))
    return page


def parts_done(out: Path, settings: dict[str, object]) -> dict[str, FinishedPart]:
    """Make the folder, or empty it of an earlier demo; returns what is done.

    Raises:
        UserError: if something else is there, or the folder cannot be written.
    """
    record = out / RECORD
    if record.is_file():
        earlier = read_result(DemoRecord, record)
        if earlier.settings == settings:
            return earlier.done
        log.info("%s: an earlier demo of other settings is replaced", shown(out))
    elif out.exists() and not (out / "two-room.h5").exists() and any(out.iterdir()):
        raise UserError(f"--out {shown(out)}: something else is already there; choose another")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in ("run", "two-room.h5.parts"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "two-room.h5").unlink(missing_ok=True)
    write_result(record, DemoRecord(settings))
    return {}


def steps_of(config: WorldDemoConfig) -> list[Step]:
    """The parts, in their order; each goes on where it was interrupted, as far as it can."""
    data, folder = config.out / "two-room.h5", config.out / "run"
    published = folder / "control-published.json"

    def record() -> None:
        if data.exists() and not _is_ours(data):
            data.unlink()
        collect(
            CollectConfig(
                env=ENVIRONMENT, out=data, episodes=config.episodes, seed=config.seed, resume=True
            )
        )

    def train() -> None:
        saved = any((folder / "checkpoints").glob("step-*"))
        training.train_world_model(
            WorldTrainConfig(
                data=data, out=folder, preset="lewm-micro", steps=config.steps, seed=config.seed,
                resume=saved, overwrite=not saved and (folder / "config.json").is_file(),
            )
        )  # fmt: skip

    def probe() -> None:
        probing.probe(probing.ProbeConfig(run=folder))

    def surprised() -> None:
        surprise.measure_surprise(surprise.SurpriseConfig(run=folder))

    def decode() -> None:
        decoder.decode(decoder.DecodeConfig(run=folder))

    strict = PlanConfig(run=folder, pairs=config.pairs, seed=config.seed)
    anywhere = replace(strict, protocol="published", films=0, out=published)
    model = folder / "world_model" / "model.safetensors"
    reaching = "Reaching image goals"
    return [
        Step("collect", "Collecting episodes", record, data),
        Step("train", "Training from pixels, with two loss terms", train, model),
        Step("probe", "What the embeddings hold", probe, folder / "probes.json"),
        Step("surprise", "What surprises it", surprised, folder / "surprise.json"),
        Step("decode", "What it imagines", decode, folder / "decoder.json"),
        Step("plan", reaching, lambda: plan(strict), folder / "control.json"),
        Step(
            "plan, published",
            f"{reaching}, by the published protocol",
            lambda: plan(anywhere),
            published,
        ),
        Step("page", "The page", lambda: write_world_page(folder), folder / "report.html"),
    ]


def _digest(file: Path) -> str:
    """Of a file's bytes; empty where there is none."""
    if not file.is_file():
        return ""
    with reading(file, "a file of the demo"), file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_ours(data: Path) -> bool:
    try:
        read_collection(data)
    except UserError:
        return False
    return True
