"""A world model's run folder on disk -> all that its page shows; what is missing stays empty."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from isojepa.boundaries import reading
from isojepa.embeddings.measurement import LEAST_ROWS, Measurement, measure
from isojepa.embeddings.samples import from_array
from isojepa.pages.run import Run, load_run
from isojepa.runs.arrays import read_arrays
from isojepa.runs.typed import from_json, read_json, read_result
from isojepa.world.analysis.decoder import DecoderResult
from isojepa.world.analysis.imagination import DecoderArrays
from isojepa.world.analysis.probe_results import ProbeArrays, ProbeResult
from isojepa.world.analysis.surprise_results import SurpriseArrays, SurpriseResult
from isojepa.world.control.results import ControlResult

Result = TypeVar("Result")
Arrays = TypeVar("Arrays")


class FilmedControl(NamedTuple):
    """One evaluation of control: a file control*.json and the film beside it."""

    name: str
    result: ControlResult
    film: bytes | None
    """A GIF."""


@dataclass(frozen=True, kw_only=True)
class WorldRun:
    """One run folder of `isojepa world train`; what a verb left behind is None if it was not run,
    and so are its arrays if they are not there."""

    run: Run
    """Configuration and curves."""
    controls: tuple[FilmedControl, ...]
    """The strict protocol first."""
    probes: ProbeResult | None
    probe_arrays: ProbeArrays | None
    surprise: SurpriseResult | None
    surprise_arrays: SurpriseArrays | None
    decoder: DecoderResult | None
    decoder_arrays: DecoderArrays | None
    film: bytes | None
    """imagined.gif."""
    embeddings: Measurement | None
    """Of held-out frames, without its tests; None without probes."""

    @property
    def embedding_dim(self) -> int | None:
        """Dimensions of the embedding."""
        return self.run.settings.get("embedding_dim")

    def last(self, key: str) -> float | None:
        """The value of a metric when it was last measured."""
        values = self.run.curve(key)[1]
        return float(values[-1]) if len(values) else None

    def ahead(self, name: str) -> list[float]:
        """The last held-out errors 1, 2, ... blocks ahead, of `rollout` or `persistence`."""
        found: list[float] = []
        while (value := self.last(f"held_out_{name}_{len(found) + 1}")) is not None:
            found.append(value)
        return found


def read_world_run(path: Path) -> WorldRun:
    """Read a run folder.

    Raises:
        UserError: if the folder is no run, or a file in it is malformed.
    """
    probes, probe_arrays = _part(path / "probes.json", ProbeResult, ProbeArrays)
    surprise, surprise_arrays = _part(path / "surprise.json", SurpriseResult, SurpriseArrays)
    decoder, decoder_arrays = _part(path / "decoder.json", DecoderResult, DecoderArrays)
    return WorldRun(
        run=load_run(path),
        controls=_controls(path),
        probes=probes,
        probe_arrays=probe_arrays,
        surprise=surprise,
        surprise_arrays=surprise_arrays,
        decoder=decoder,
        decoder_arrays=decoder_arrays,
        film=_film(path / "imagined.gif"),
        embeddings=_measured(probe_arrays),
    )


def _part(
    file: Path, result: type[Result], arrays: type[Arrays]
) -> tuple[Result | None, Arrays | None]:
    """What one verb left behind: its JSON, and its arrays if they are there too."""
    if not file.is_file():
        return None, None
    beside = file.with_suffix(".npz")
    return read_result(result, file), read_arrays(arrays, beside) if beside.is_file() else None


def _controls(path: Path) -> tuple[FilmedControl, ...]:
    found = []
    for file in sorted(path.glob("control*.json")):
        content = read_json(file)
        if not isinstance(content, dict) or "success" in content:  # else of another kind
            result = from_json(ControlResult, content, file)
            found.append(FilmedControl(file.stem, result, _film(file.with_suffix(".gif"))))
    return tuple(sorted(found, key=_near_first))


def _near_first(control: FilmedControl) -> tuple[bool, bool, int, str]:
    """Strict before published, ahead before walled, near before far."""
    result = control.result
    walled = result.config.goals == "walled"
    return result.protocol != "strict", walled, result.config.offset or 0, control.name


def _film(path: Path) -> bytes | None:
    if not path.is_file():
        return None
    with reading(path, "a film"):
        return path.read_bytes()


def _measured(arrays: ProbeArrays | None) -> Measurement | None:
    if arrays is None or len(arrays.z) < LEAST_ROWS or not np.isfinite(arrays.z).all():
        return None
    return measure(from_array(arrays.z, "held-out embeddings"), test=False, n_null=99)
