"""The answer to `isojepa.diagnose`: a verdict that prints, shows itself and saves its page."""

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console, RenderableType
from torch import Tensor

from isojepa.boundaries import writing
from isojepa.embeddings.measurement import LEAST_ROWS, Measurement, measure
from isojepa.embeddings.samples import Samples, from_array
from isojepa.embeddings.verdict import judge_samples
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.pages.embeddings.notebook import notebook_fragment
from isojepa.pages.embeddings.page import diagnosis_page
from isojepa.pages.embeddings.terminal import screen_summary
from isojepa.theme.findings import Finding, Level, Verdict

MOST_SAMPLES = 8192
WIDTH = 100
"""Columns of `str(diagnosis)`."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Diagnosis:
    """What samples are, why, and what to change; `str` gives what the command prints."""

    measurement: Measurement
    """All that was measured."""
    verdict: Verdict
    seed: int
    command: str
    """What asks for this again."""

    @property
    def state(self) -> str:
        """The gravest, such as isotropic Gaussian, collapsed or clustered."""
        return self.verdict.state

    @property
    def states(self) -> tuple[str, ...]:
        """All that hold, the gravest first."""
        return self.verdict.states

    @property
    def level(self) -> Level:
        """good, note, warning or problem."""
        return self.verdict.level

    @property
    def summary(self) -> str:
        """The verdict in a sentence or two."""
        return self.verdict.summary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Level, title, detail and remedy of each, the gravest first."""
        return self.verdict.findings

    @property
    def remedies(self) -> tuple[str, ...]:
        """What to change, the most urgent first."""
        return self.verdict.remedies

    @property
    def numbers(self) -> Mapping[str, float | int]:
        """What the table on the screen shows, by name; nan or infinite where it says nothing."""
        s = self.measurement.spectrum
        return {
            "n": s.n,
            "d": s.d,
            "effective_rank": s.effective_rank,
            "isotropic_rank": s.isotropic_rank,
            "rankme": s.rankme,
            "condition_number": s.condition_number,
            "isotropic_condition": s.isotropic_condition,
            "probe_variance": s.probe_variance,
            "probe_bias": s.probe_bias[1].narrowest,
            "deviation": s.deviation,
            "shift": s.shift,
        }

    @property
    def p_values(self) -> Mapping[str, float]:
        """Of the calibrated tests, by what is tested and how: `target: ...`, `shape: ...`."""
        tests = () if self.measurement.tests is None else self.measurement.tests.tests
        asks = {"standard": "target", "shape": "shape"}
        return {f"{asks[t.asks]}: {t.title}": t.p_value for t in tests}

    def save(self, path: Path | str) -> Path:
        """Write the illustrated page, which needs no network, and return its path.

        Raises:
            UserError: if it cannot be written there.
        """
        path = Path(path)
        with writing(path):
            page = diagnosis_page(self.measurement, self.verdict, self.command, self.seed)
            write_atomically(path, page)
        return path

    def __repr__(self) -> str:
        s = self.measurement.samples
        return f"<Diagnosis of {s.n:,} samples of {s.d:,} dimensions: {', '.join(self.states)}>"

    def __str__(self) -> str:
        text = io.StringIO()
        console = Console(
            file=text, width=WIDTH, color_system=None, markup=False, force_jupyter=False
        )
        console.print(self, highlight=False)
        return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").split("\n"))

    def __rich__(self) -> RenderableType:
        return screen_summary(self.measurement, self.verdict)

    def _repr_html_(self) -> str:
        return notebook_fragment(self.measurement, self.verdict)


def diagnose(
    z: np.ndarray | Tensor,
    *,
    any_scale: bool = False,
    drop_nonfinite: bool = False,
    max_samples: int = MOST_SAMPLES,
    seed: int = 0,
    name: str = "array",
) -> Diagnosis:
    """Is this an isotropic Gaussian, and if not, how does it fail?

    Args:
        z: samples (n, d), one a row, at least 20; real numbers, a tensor on any device.
        any_scale: accept any common mean and standard deviation: judge the shape, as of an
            encoder's output.
        drop_nonfinite: leave out rows with NaN or infinite numbers in place of refusing them.
        max_samples: rows drawn for tests and directions; moments, distances and duplicates are of
            all rows.
        seed: of the rows drawn, the directions and the simulated Gaussian samples.
        name: what the screen and the page call the samples.

    Raises:
        UserError: for anything but a table of real numbers, fewer than 20 usable rows, or rows
            that are not finite unless dropped.
    """
    given = [f"{key}=True" for key, on in (("any_scale", any_scale),
             ("drop_nonfinite", drop_nonfinite)) if on]  # fmt: skip
    given += [f"max_samples={max_samples}"] if max_samples != MOST_SAMPLES else []
    given += [f"seed={seed}"] if seed else []
    return diagnose_samples(
        from_array(_real_numbers(z, name), name),
        any_scale=any_scale,
        drop_nonfinite=drop_nonfinite,
        max_samples=max_samples,
        seed=seed,
        command=f"isojepa.diagnose({', '.join([name, *given])})",
    )


def diagnose_samples(
    samples: Samples,
    *,
    any_scale: bool,
    drop_nonfinite: bool,
    max_samples: int,
    seed: int,
    command: str,
    shared: bool = False,
) -> Diagnosis:
    """The same of samples wherever they are; see `diagnose` and, for `shared`, `measure`."""
    check_options(max_samples, seed)
    measurement = measure(
        samples,
        any_scale=any_scale,
        drop_nonfinite=drop_nonfinite,
        max_samples=max_samples,
        seed=seed,
        cache=null_cache(),
        shared=shared,
    )
    verdict = judge_samples(measurement)
    return Diagnosis(measurement=measurement, verdict=verdict, seed=seed, command=command)


def check_options(max_samples: int, seed: int) -> None:
    """Raise UserError for options that make no sense."""
    if max_samples < LEAST_ROWS:
        raise UserError(f"--max-samples must be at least {LEAST_ROWS}")
    if seed < 0:
        raise UserError("--seed must not be negative")


def _real_numbers(z: np.ndarray | Tensor, name: str) -> np.ndarray:
    if isinstance(z, Tensor):
        z = z.detach().to_dense() if z.layout != torch.strided else z.detach()
        if z.is_floating_point() and z.dtype not in (torch.float16, torch.float64):
            z = z.float()  # NumPy has no bfloat16
        z = z.cpu().resolve_conj().resolve_neg().numpy()
    x = np.asarray(np.ma.filled(z, np.nan) if np.ma.isMaskedArray(z) else z)
    if x.dtype.kind in "iub":
        raise UserError(
            f"{name}: holds {x.dtype.name}, where embeddings are real numbers: are these labels or "
            f"token ids? If they are coordinates, pass them as floats"
        )
    return x


def null_cache() -> Path | None:
    """Where simulated null distributions stay from run to run; None if it cannot be made."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "isojepa"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None
