"""`isojepa world report`: a world model's run folder -> one self-contained HTML page."""

import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import tyro

from isojepa.boundaries import writing
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.pages.world.agent_page import agent_page, is_agent
from isojepa.pages.world.control_table import control_section
from isojepa.pages.world.figures import figures_of
from isojepa.pages.world.strips import imagined_strips, stills, surprise_strips
from isojepa.pages.world.surprise_plots import event_style
from isojepa.pages.world.verdict import judge_world_model, percentage
from isojepa.pages.world.world_run import WorldRun, read_world_run
from isojepa.theme.render import data_uri, render
from isojepa.theme.wording import duration, fixed
from isojepa.version import __version__

log = logging.getLogger(__name__)
REPRESENTATIONS = {
    "model": "This model",
    "untrained": "The same model, untrained",
    "pixels": "PCA of the frames",
}


@dataclass(frozen=True, kw_only=True)
class WorldReportConfig:
    """Turn the run folder of a world model into one illustrated HTML page."""

    run: tyro.conf.Positional[Path]
    """The folder that `isojepa world train` or `isojepa world learn` wrote."""
    out: Path | None = None
    """The page to write; report.html in the run folder by default."""


def report_world(config: WorldReportConfig) -> Path:
    """Write the page and return its path."""
    return write_world_page(config.run, config.out)


def write_world_page(run: Path, out: Path | None = None) -> Path:
    """Write the page on a world model and return its path.

    Args:
        run: a run folder; only config.json must exist, what else is missing is left out, with a
            line on how to get it.
        out: file to write, RUN/report.html by default.

    Raises:
        UserError: if the folder is no run, a file in it is malformed, or `out` is a folder.
    """
    out = run / "report.html" if out is None else out
    if out.is_dir():
        raise UserError(f"{out} is a folder: give the name of a file to write, {out}/report.html")
    html = agent_page(run) if is_agent(run) else _render(read_world_run(run))
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, html)
    log.info("page: %s", out)
    return out


def _render(world: WorldRun) -> str:
    record = world.run.record
    return render(
        Path(__file__).with_name("page.html"),
        figures_of(world),
        world=world,
        run=world.run,
        verdict=judge_world_model(world),
        facts=_facts(world),
        controls=[control_section(c, record.data.get("frame_size")) for c in world.controls],
        representations=REPRESENTATIONS,
        diagnosis=judge_samples(world.embeddings) if world.embeddings else None,
        surprised=surprise_strips(world),
        event_style=event_style,
        stills=stills(world),
        imagined=imagined_strips(world),
        imagined_film=data_uri(world.film, "gif") if world.film else None,
        missing=_missing(world),
        commands=_commands(world),
        data=record.data,
        versions=record.made.versions,
        started=_date(record.made.started),
        version=__version__,
    )


class Fact(NamedTuple):
    """What, its value, and a scale to read it by."""

    what: str
    value: str
    scale: str


def _facts(world: WorldRun) -> list[Fact]:
    facts = []
    for control in world.controls:
        if control.result.protocol == world.controls[0].result.protocol:
            success = percentage(control.result.rate.success)
            scale = f"{control.result.goals}, {control.result.protocol} protocol"
            facts.append(Fact("Goals reached", success, scale))
    errors, still = world.ahead("rollout"), world.ahead("persistence")
    if errors and still:
        ratio = percentage(errors[0] / max(still[0], 1e-12))
        facts.append(Fact("Prediction error", ratio, "of predicting no change"))
    if (rank := world.last("effective_rank")) is not None:
        facts.append(Fact("Effective rank", f"{rank:.1f}", f"of {world.embedding_dim} directions"))
    if world.probes and world.probes.quantities:
        r = [one.scores.model.linear.r or 0.0 for one in world.probes.quantities]
        facts.append(
            Fact("State read linearly", f"r = {min(r):.3f}", "the least of its quantities")
        )
    teleport = world.surprise.conditions.get("teleport") if world.surprise else None
    if teleport:
        facts.append(Fact("Teleports noticed", fixed(teleport.auc), "area under ROC, 0.5 is blind"))
    if (seconds := world.run.record.seconds) is not None:
        facts.append(
            Fact(
                "Training time",
                duration(seconds),
                f"{world.run.settings.get('steps', 0):,} updates",
            )
        )
    return facts


def _missing(world: WorldRun) -> list[tuple[str, str]]:
    """What the folder lacks, and the command that makes it."""
    run = world.run.path
    parts = [
        (world.run.metrics, "Training curves", "world train --data DATA --out"),
        (world.controls, "Control: goals reached by planning", "world plan --run"),
        (world.probes, "Probes and latent distances", "world probe --run"),
        (world.surprise, "Surprise", "world surprise --run"),
        (world.decoder, "Decoded frames and imagined rollouts", "world decode --run"),
    ]
    return [(what, f"isojepa {verb} {run}") for there, what, verb in parts if not there]


def _commands(world: WorldRun) -> list[str]:
    parts = (world.probes, world.surprise, world.decoder, *(c.result for c in world.controls))
    commands = [world.run.record.made.command]
    commands += [part.provenance.command for part in parts if part]
    return list(dict.fromkeys(command for command in commands if command))


def _date(started: object) -> str | None:
    try:
        return datetime.fromisoformat(str(started)).strftime("%d %B %Y, %H:%M")
    except ValueError:
        return None
