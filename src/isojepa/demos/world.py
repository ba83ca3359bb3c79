"""`isojepa world demo`: the whole path on TwoRoom, from raw pixels to reaching image goals."""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.pages.world.page import write_world_page
from isojepa.progress import console
from isojepa.runs.folder import write_json
from isojepa.training.interrupted import Interrupted
from isojepa.version import __version__
from isojepa.world.analysis import decoder, probing, surprise
from isojepa.world.collection import collect
from isojepa.world.collection.collected import read_record
from isojepa.world.control import control
from isojepa.world.learning import train as training
from isojepa.world.learning.config import WorldTrainConfig

log = logging.getLogger(__name__)
ENVIRONMENT = "swm/TwoRoom-v1"
RECORD = "demo.json"
AGAIN = "go on with the same command"


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


class Done(NamedTuple):
    """What is recorded of a part that is whole."""

    seconds: float
    sha256: str
    """Of its file: one that was damaged, or replaced by other settings', is made anew."""


def run(config: WorldDemoConfig) -> Path:
    """Run the demo, or what is left of it; returns the page.

    Writes OUT/two-room.h5 and OUT/run with the model, probes.json, surprise.json, decoder/,
    control.json (held-out episodes, no pair solved at the start), control-published.json and
    report.html; OUT/demo.json says what is done.

    Raises:
        UserError: if OUT holds something else, or the packages of the extra `world` are missing.
        Interrupted: after Ctrl-C or SIGTERM while it trains; the same command goes on.
    """
    settings = {k: v for k, v in asdict(config).items() if k != "out"}
    settings["version"] = __version__
    done = begin(config.out, settings)
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
            stopped.args = (f"{str(stopped).partition(';')[0]}; {AGAIN}",)
            raise
        except KeyboardInterrupt:
            log.info("interrupted: %s", AGAIN)
            raise
        done[step.name] = Done(round(time.monotonic() - clock, 3), _digest(step.file))
        write_record(config.out, settings, done)
    folder = config.out / "run"
    page = folder / "report.html"
    seconds = {name: one.seconds for name, one in done.items()}
    write_json(folder / "seconds.json", seconds)
    for name, file in (("strict", "control"), ("published", "control-published")):
        result = _json(folder / f"{file}.json")
        low, high = result["interval"]
        log.info(
            "%s protocol: %.1f %% of %d goals reached [%.1f, %.1f]",
            *(name, 100 * result["success"], result["pairs"], 100 * low, 100 * high),
        )
    log.info("%s, in %.0f s", page, sum(seconds.values()))
    return page


def begin(out: Path, settings: dict[str, Any]) -> dict[str, Done]:
    """Make the folder, or empty it of an earlier demo; returns what is done.

    Raises:
        UserError: if something else is there, or the folder cannot be written.
    """
    record = out / RECORD
    if record.is_file():
        earlier = _json(record)
        if earlier.get("settings") == settings:
            return {name: Done(*one) for name, one in earlier["done"].items()}
        log.info("%s: an earlier demo of other settings is replaced", shown(out))
    elif out.exists() and not (out / "two-room.h5").exists() and any(out.iterdir()):
        raise UserError(f"--out {shown(out)}: something else is already there; choose another")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name in ("run", "two-room.h5.parts"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "two-room.h5").unlink(missing_ok=True)
    write_record(out, settings, {})
    return {}


def write_record(out: Path, settings: dict[str, Any], done: dict[str, Done]) -> None:
    """Write OUT/demo.json."""
    write_json(out / RECORD, {"settings": settings, "done": done})


def steps_of(config: WorldDemoConfig) -> list[Step]:
    """The parts, in their order; each goes on where it was interrupted, as far as it can."""
    data, folder = config.out / "two-room.h5", config.out / "run"
    published = folder / "control-published.json"

    def record() -> None:
        if data.exists() and not _is_ours(data):
            data.unlink()
        collect.run(
            collect.CollectConfig(
                env=ENVIRONMENT, out=data, episodes=config.episodes, seed=config.seed, resume=True
            )
        )

    def train() -> None:
        saved = any((folder / "checkpoints").glob("step-*"))
        training.run(
            WorldTrainConfig(
                data=data, out=folder, preset="lewm-micro", steps=config.steps, seed=config.seed,
                resume=saved, overwrite=not saved and (folder / "config.json").is_file(),
            )
        )  # fmt: skip

    def plan(**changes: Any) -> None:
        control.run(control.PlanConfig(run=folder, pairs=config.pairs, seed=config.seed, **changes))

    def probe() -> None:
        probing.run(probing.ProbeConfig(run=folder))

    def surprised() -> None:
        surprise.run(surprise.SurpriseConfig(run=folder))

    def decode() -> None:
        decoder.run(decoder.DecodeConfig(run=folder))

    model = folder / "world_model" / "model.safetensors"
    reaching = "Reaching image goals, by the published protocol"
    return [
        Step("collect", "Collecting episodes", record, data),
        Step("train", "Training from pixels, with two loss terms", train, model),
        Step("probe", "What the embeddings hold", probe, folder / "probes.json"),
        Step("surprise", "What surprises it", surprised, folder / "surprise.json"),
        Step("decode", "What it imagines", decode, folder / "decoder.json"),
        Step("plan", "Reaching image goals", plan, folder / "control.json"),
        Step(
            "plan, published",
            reaching,
            lambda: plan(protocol="published", films=0, out=published),
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
        read_record(data)
    except UserError:
        return False
    return True


def _json(path: Path) -> dict[str, Any]:
    with reading(path, "JSON"):
        return dict(json.loads(path.read_text(encoding="utf-8")))
