"""The verb `diagnose`: a file of embeddings in, a verdict and an illustrated page out."""

import logging
import os
import shlex
from dataclasses import dataclass
from pathlib import Path

import tyro

from isojepa.boundaries import shown, writing
from isojepa.embeddings.formats.open_file import open_samples
from isojepa.errors import UserError
from isojepa.pages.embeddings.diagnosis import (
    MOST_SAMPLES,
    Diagnosis,
    check_options,
    diagnose_samples,
)
from isojepa.progress import console
from isojepa.training.ranks import on_first, together

log = logging.getLogger(__name__)
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID")
"""What torchrun and srun set."""


@dataclass(frozen=True, kw_only=True)
class DiagnoseConfig:
    """Is this an isotropic Gaussian, and if not, how does it fail? Writes an illustrated page."""

    file: tyro.conf.Positional[Path]
    """Embeddings, one sample a row: .npy, .npz, .csv, .tsv, .txt, .parquet, .feather, .jsonl,
    .safetensors, .pt, .h5 or .mat; tables of text also as .csv.gz."""
    key: str | None = None
    """Name of the array, in a file that holds several."""
    columns: tuple[str, ...] = ()
    """Columns of a table to use, names or patterns such as emb_*; by default those of numbers that
    neither count rows nor name classes."""
    any_scale: bool = False
    """Accept any common mean and standard deviation: judge the shape, as of an encoder's output."""
    drop_nonfinite: bool = False
    """Leave out rows with NaN, infinite numbers or, in tables, cells that are no numbers, in place
    of refusing them."""
    max_samples: int = MOST_SAMPLES
    """Rows drawn for tests and directions; moments, distances and duplicates are of all rows."""
    seed: int = 0
    """Of the rows drawn, the directions and the simulated Gaussian samples."""
    devices: int = 1
    """Processes to share the rows among, on CPUs; under srun or torchrun, those of all nodes. What
    is found is the same, bit for bit."""
    out: Path | None = None
    """Page to write; FILE.diagnosis.html beside the file by default."""

    def __post_init__(self) -> None:
        check_options(self.max_samples, self.seed)
        if self.devices < 1:
            raise UserError("--devices must be at least 1")

    @property
    def page(self) -> Path:
        """Where the page goes."""
        return self.out or self.file.with_name(f"{self.file.name}.diagnosis.html")

    @property
    def command(self) -> str:
        """The line that asks for this again."""
        words = [f"isojepa diagnose {_quoted(self.file)}"]
        words += [f"--key {_quoted(self.key)}"] if self.key else []
        words += [f"--columns {' '.join(map(_quoted, self.columns))}"] if self.columns else []
        words += ["--any-scale"] if self.any_scale else []
        words += ["--drop-nonfinite"] if self.drop_nonfinite else []
        words += [f"--max-samples {self.max_samples}"] if self.max_samples != MOST_SAMPLES else []
        return " ".join([*words, *([f"--seed {self.seed}"] if self.seed else [])])


def diagnose_file(config: DiagnoseConfig) -> Diagnosis:
    """Diagnose a file, print what was found and write the page; returns what it printed.

    Raises:
        UserError: if the file cannot be read or holds no usable samples, or the page cannot be
            written.
    """
    with writing(config.page):
        usable = config.page.parent.is_dir() and not config.page.is_dir()
    if not usable and config.file.exists():
        raise UserError(f"--out {shown(config.page)}: give a file name in a folder that exists")
    join_processes(config.devices)
    diagnosis = together(lambda: _share(config))
    on_first(lambda: _tell(config, diagnosis))
    return diagnosis


def join_processes(devices: int) -> None:
    """Be one of as many processes as asked for; Lightning is imported where there may be more."""
    if devices > 1 or not os.environ.keys().isdisjoint(LAUNCHERS):
        from isojepa.training import launch

        launch.start_processes("cpu", devices)


def _share(config: DiagnoseConfig) -> Diagnosis:
    samples = open_samples(
        config.file, key=config.key, columns=config.columns, missing=config.drop_nonfinite
    )
    return diagnose_samples(
        samples,
        any_scale=config.any_scale,
        drop_nonfinite=config.drop_nonfinite,
        max_samples=config.max_samples,
        seed=config.seed,
        command=config.command,
        shared=config.devices > 1,
    )


def _tell(config: DiagnoseConfig, diagnosis: Diagnosis) -> None:
    console.print(diagnosis, highlight=False)
    log.info("page: %s", shown(diagnosis.save(config.page)))


def _quoted(word: object) -> str:
    """A word of a command line as a shell reads it."""
    return shlex.quote(shown(str(word)))
