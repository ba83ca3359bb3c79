"""`isojepa world report`: a world model's run folder -> one self-contained HTML page."""

import logging
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from bokeh.plotting import figure
from jaxtyping import UInt8
from PIL import Image

from isojepa.boundaries import writing
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.pages.embeddings import plots as diagnosis_plots
from isojepa.pages.world import plots as world_plots
from isojepa.pages.world.evidence import Control, WorldRun, read_world_run
from isojepa.pages.world.verdict import judge_world_model, share
from isojepa.theme.render import data_uri, render
from isojepa.version import __version__
from isojepa.world.control.results import published_beside

log = logging.getLogger(__name__)
MOST_PIXELS = 96  # side of a frame on the page
SHOWN = 2  # episodes imagined
REPRESENTATIONS = {
    "model": "This model",
    "untrained": "The same model, untrained",
    "pixels": "PCA of the frames",
}
EVENTS = {"unchanged": "as it was", "teleport": "teleport", "colour": "colour"}
BASELINES = {
    "random": "Random actions",
    "straight line": "Straight towards the goal",
    "oracle": "Scripted, without noise",
}


@dataclass(frozen=True, kw_only=True)
class WorldReportConfig:
    """Turn the run folder of a world model into one illustrated HTML page."""

    run: tyro.conf.Positional[Path]
    """The folder that `isojepa world train` wrote."""
    out: Path | None = None
    """The page to write; report.html in the run folder by default."""


class Bar(NamedTuple):
    """One row of a control table."""

    title: str
    success: float | None
    interval: tuple[float, float] | None
    pairs: int | None
    kind: str
    """ours, baseline, published, heading, bin or seed."""


class Cell(NamedTuple):
    """One frame of a film strip."""

    uri: str
    caption: str
    marked: bool


class Strip(NamedTuple):
    """A row of frames."""

    title: str
    cells: tuple[Cell, ...]


def run(config: WorldReportConfig) -> Path:
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
    world = read_world_run(run)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, _render(world))
    log.info("page: %s", out)
    return out


def _render(world: WorldRun) -> str:
    config = world.run.config
    frame_size = (config.get("data") or {}).get("frame_size")
    return render(
        Path(__file__).with_name("page.html"),
        _figures(world),
        world=world,
        run=world.run,
        verdict=judge_world_model(world),
        facts=_facts(world),
        controls=[_control(c, frame_size) for c in world.controls],
        probes=_probes(world),
        shape=_shape(world),
        surprised=_surprise_strips(world),
        stills=_stills(world),
        imagined=_imagined(world),
        imagined_film=data_uri(world.film, "gif") if world.film else None,
        missing=_missing(world),
        commands=_commands(world),
        data=config.get("data") or {},
        versions=config.get("versions") or {},
        started=_date(config.get("started")),
        version=__version__,
        representations=REPRESENTATIONS,
    )


def _figures(world: WorldRun) -> dict[str, figure]:
    figures = {f"curve_{k}": v for k, v in world_plots.training(world).items()}
    probes, arrays = world.probes, world.probes.arrays
    if probes and {"truth", "linear"} <= arrays.keys():
        flip = probes.result.get("distance_unit", "").startswith("pixels")
        scatters = world_plots.probe_scatters(probes.result["quantities"], arrays, flip=flip)
        for i, plot in enumerate(scatters):
            figures[f"probe_{i}"] = plot
    if probes and "pair_latent" in arrays:
        found = world_plots.distances(
            arrays, probes.result.get("distances", {}), probes.result.get("distance_unit", "")
        )
        figures |= {f"distance_{k}": v for k, v in found.items()}
    if world.shape is not None and world.shape.distances is not None:
        figures["spectrum"] = diagnosis_plots.sample_spectrum(world.shape.spectrum, height=300)
        figures["radii"] = diagnosis_plots.distance_histogram(
            world.shape.distances, len(world.shape.outliers), height=300
        )
    if world.surprise:
        figures["surprise_traces"] = world_plots.surprise_traces(world.surprise.result)
        figures["surprise_roc"] = world_plots.surprise_roc(world.surprise.result)
        if "null" in world.surprise.arrays:
            figures["surprise_histogram"] = world_plots.surprise_histogram(world.surprise.arrays)
    return figures


def _facts(world: WorldRun) -> list[tuple[str, Any, str]]:
    """What, value and its kind, and a scale to read it by; the template formats the values."""
    facts: list[tuple[str, Any, str]] = []
    for control in world.controls[:1]:
        success = share(control.result["success"])
        facts.append(("Goals reached", success, f"{control.protocol} protocol"))
    errors, still = world.ahead("rollout"), world.ahead("persistence")
    if errors and still:
        ratio = share(errors[0] / max(still[0], 1e-12))
        facts.append(("Prediction error", ratio, "of predicting no change"))
    if (rank := world.last("effective_rank")) is not None:
        facts.append(("Effective rank", f"{rank:.1f}", f"of {world.embedding_dim} directions"))
    if quantities := world.probes.result.get("quantities"):
        r = [q["scores"]["model"]["linear"]["r"] or 0.0 for q in quantities]
        facts.append(("State read linearly", f"r = {min(r):.3f}", "the least of its quantities"))
    if teleport := world.surprise.result.get("conditions", {}).get("teleport"):
        facts.append(
            ("Teleports noticed", f"{teleport['auc']:.3f}", "area under ROC, 0.5 is blind")
        )
    if (seconds := world.run.config.get("seconds")) is not None:
        facts.append(("Training time", seconds, f"{world.run.settings.get('steps', 0):,} updates"))
    return facts


def _control(control: Control, frame_size: int | None) -> dict[str, Any]:
    result, asked = control.result, control.result.get("config") or {}
    published = published_beside(  # not as recorded: older versions recorded it beside anything
        result.get("environment", ""),
        protocol=control.protocol,
        offset=asked.get("offset"),
        budget=asked.get("budget"),
        frame_size=frame_size,
    )
    bars = [
        Bar("Planning with this model", result["success"], _pair(result), result["pairs"], "ours")
    ]
    for name, other in result.get("baselines", {}).items():
        title = BASELINES.get(name, name)
        bars.append(Bar(title, other["success"], _pair(other), other["pairs"], "baseline"))
    for name, value in published.items():
        bars.append(Bar(name, value, None, None, "published"))
    unit = result.get("distance_unit", "")
    if result.get("by_distance"):
        words = "By distance from start to goal" + (f", {unit}" if unit else "")
        bars.append(Bar(words, None, None, None, "heading"))
    for part in result.get("by_distance", []):
        title = f"{part['from']:.3g} to {part['to']:.3g}"
        bars.append(Bar(title, part["success"], _pair(part), part["pairs"], "bin"))
    if len(result.get("seeds", [])) > 1:
        bars.append(Bar("By seed", None, None, None, "heading"))
        for seed in result["seeds"]:
            title = f"seed {seed['seed']}"
            bars.append(Bar(title, seed["success"], _pair(seed), seed["pairs"], "seed"))
    return {
        "name": control.name,
        "protocol": control.protocol,
        "environment": result.get("environment", ""),
        "bars": bars,
        "film": data_uri(control.film, "gif") if control.film else None,
        "plan_seconds": result.get("plan_seconds"),
        "sequences": result.get("sequences_per_plan"),
        "median_steps": result.get("median_steps"),
        "asked": asked,
        "settings": result.get("settings") or {},
        "hardware": result.get("hardware"),
    }


def _pair(part: dict[str, Any]) -> tuple[float, float] | None:
    interval = part.get("interval")
    return None if interval is None else (float(interval[0]), float(interval[1]))


def _probes(world: WorldRun) -> list[dict[str, Any]]:
    """Rows of the table: a quantity under one representation."""
    rows = []
    for quantity in world.probes.result.get("quantities", []):
        names = [name for name in REPRESENTATIONS if name in quantity["scores"]]
        best = {
            reader: max(quantity["scores"][n][reader]["r"] or 0.0 for n in names)
            for reader in ("linear", "mlp")
        }
        for i, name in enumerate(names):
            scores = quantity["scores"][name]
            rows.append(
                {
                    "quantity": quantity["name"] + (" (angle)" if quantity["angle"] else ""),
                    "span": len(names) if i == 0 else 0,
                    "representation": REPRESENTATIONS[name],
                    "ours": name == "model",
                    "published": quantity.get("published_r") if name == "model" else None,
                    **{
                        reader: {
                            **scores[reader],
                            "best": (scores[reader]["r"] or 0) >= best[reader],
                        }
                        for reader in ("linear", "mlp")
                    },
                }
            )
    return rows


def _shape(world: WorldRun) -> Any:
    """The verdict of a diagnosis on the held-out embeddings."""
    return None if world.shape is None else judge_samples(world.shape)


def _surprise_strips(world: WorldRun) -> list[list[Strip]]:
    """Per example, a strip for each kind of event, every frame captioned with its surprise."""
    arrays, result = world.surprise.arrays, world.surprise.result
    names = [n for n in world_plots.CONDITIONS if f"frames_{n}" in arrays]
    if not names:
        return []
    bound = result["usual"]["quantile_99"]
    examples = []
    for i in range(len(arrays[f"frames_{names[0]}"])):
        strips = []
        for name in names:
            frames, trace = arrays[f"frames_{name}"][i], arrays[f"trace_{name}"][i]
            cells = [Cell(_picture(f), _times(v), bool(v > bound)) for f, v in zip(frames, trace)]
            title = EVENTS.get(name, name)
            strips.append(Strip(title, tuple(cells)))
        examples.append(strips)
    return examples


def _stills(world: WorldRun) -> list[Strip]:
    arrays = world.decoder.arrays
    if "stills_real" not in arrays:
        return []
    return [
        Strip(title, tuple(Cell(_picture(f), "", False) for f in arrays[name]))
        for title, name in (("frame", "stills_real"), ("decoded", "stills_decoded"))
    ]


def _imagined(world: WorldRun) -> list[list[Strip]]:
    """Per episode: real, decoded and imagined frames, the latter captioned by their block."""
    arrays, result = world.decoder.arrays, world.decoder.result
    if "imagined" not in arrays:
        return []
    given = int(result.get("given", 1))
    episodes = []
    for i in range(min(SHOWN, len(arrays["real"]))):
        strips = []
        for title, name in (("real", "real"), ("decoded", "decoded"), ("imagined", "imagined")):
            cells = []
            for j, frame in enumerate(arrays[name][i]):
                ahead = name == "imagined" and j >= given
                caption = (f"+{j - given + 1}" if ahead else "given") if name == "imagined" else ""
                cells.append(Cell(_picture(frame), caption, ahead))
            strips.append(Strip(title, tuple(cells)))
        episodes.append(strips)
    return episodes


def _times(value: float) -> str:
    if np.isnan(value):
        return "–"
    return f"× {value:,.0f}" if value >= 10 else f"× {value:.2g}"


def _picture(frame: UInt8[np.ndarray, "y x c"]) -> str:
    image = Image.fromarray(np.ascontiguousarray(frame))
    if image.width > MOST_PIXELS:
        image = image.resize((MOST_PIXELS, MOST_PIXELS), Image.Resampling.BOX)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=92, subsampling=0)
    return data_uri(buffer.getvalue(), "jpeg")


def _missing(world: WorldRun) -> list[tuple[str, str]]:
    """What the folder lacks, and the command that makes it."""
    run = world.run.path
    parts: list[tuple[bool, str, str]] = [
        (bool(world.run.metrics), "Training curves", "world train --data DATA --out"),
        (bool(world.controls), "Control: goals reached by planning", "world plan --run"),
        (bool(world.probes), "Probes and latent distances", "world probe --run"),
        (bool(world.surprise), "Surprise", "world surprise --run"),
        (bool(world.decoder), "Decoded frames and imagined rollouts", "world decode --run"),
    ]
    return [(what, f"isojepa {verb} {run}") for there, what, verb in parts if not there]


def _commands(world: WorldRun) -> list[str]:
    found = [world.run.config.get("command")]
    found += [part.result.get("command") for part in (world.probes, world.surprise, world.decoder)]
    found += [c.result.get("command") for c in world.controls]
    return list(dict.fromkeys(command for command in found if command))


def _date(started: Any) -> str | None:
    try:
        return datetime.fromisoformat(str(started)).strftime("%d %B %Y, %H:%M")
    except ValueError:
        return None
