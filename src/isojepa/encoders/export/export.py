"""`isojepa export`: a trained encoder -> a folder for timm, safetensors, ONNX or torch.export."""

import glob
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from torch import nn

from isojepa.boundaries import shown, writing
from isojepa.encoders.export.arrays import ARRAY_FILES, write_arrays
from isojepa.encoders.export.card import Agreement, write_card
from isojepa.encoders.export.formats import NEEDS, Format, write_format
from isojepa.encoders.export.pictures import jpegs
from isojepa.encoders.export.push import check_repository, push
from isojepa.encoders.export.round_trip import LIMIT, difference, embed_here, round_trip
from isojepa.encoders.export.timm_names import timm_config, timm_transform
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.encoders.modalities.stored import load_encoder
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.progress import console
from isojepa.runs.folder import write_json
from isojepa.runs.record import read_run

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write a trained encoder for other programs, and prove that they agree with it."""

    run: tyro.conf.Positional[Path]
    """Run folder of `isojepa pretrain`, its checkpoints/best, or an encoder folder."""
    format: Format = "timm"
    """timm: a folder that timm, and transformers' TimmWrapperModel, load by their own means;
    safetensors: weights and settings that plain timm rebuilds, small stems too; onnx and
    torch-export: one graph from pixels of any size in bytes to embeddings."""
    out: Path | None = None
    """Folder to write. Default: export-FORMAT in the run folder."""
    license: str | None = None
    """Licence of the weights for the model card, as the hub spells it: mit, apache-2.0, other."""
    push: str | None = None
    """Also upload the folder to the Hugging Face hub, as owner/name; private unless --public."""
    public: bool = False
    """With --push, let everybody read it."""
    overwrite: bool = False
    """Replace what an earlier export wrote there."""

    def __post_init__(self) -> None:
        if self.push is not None:
            check_repository(self.push)
        elif self.public:
            raise UserError("--public says who may read what --push uploads; give --push too")


def export(config: ExportConfig, backbone: nn.Module | None = None) -> Path:
    """Write the folder, prove it, and return its path.

    Args:
        config: what to write.
        backbone: the module that was trained, if it was passed from Python rather than named.

    Raises:
        UserError: if there is no encoder, the format cannot express it, the folder is taken, or
            what was written differs from the encoder by more than 1e-4.
    """
    if (config.run / "world_model").is_dir():
        raise UserError(f"{shown(config.run)}: a world model: `isojepa world export` writes it")
    encoder = load_encoder(config.run, backbone)
    if isinstance(encoder, Encoder) and (
        encoder.spec.channels not in (1, 3) or encoder.spec.ranges is not None
    ):
        raise UserError(
            f"--format {config.format}: is for encoders of pictures, and this one reads numbers of "
            f"{encoder.spec.channels} channel{'s' if encoder.spec.channels != 1 else ''} in units "
            "of their own; isojepa.load_encoder reads it and `embed` uses it"
        )
    out = config.out or config.run / f"export-{config.format}"
    _check_place(out, overwrite=config.overwrite)
    home = _home(config.run)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".part-{out.name}-"
        for left in out.parent.glob(f"{glob.escape(prefix)}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=out.parent, prefix=prefix))
    try:
        with console.status(f"writing and checking --format {config.format}"):
            if isinstance(encoder, Encoder):
                agreement = _write(config, encoder, home, part)
            else:
                agreement = Agreement(write_arrays(config.format, encoder, part), 0, None)
        with writing(out):
            part.chmod(0o755)
            if out.exists():
                shutil.rmtree(out)
            part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    _say(config, out, agreement)
    if config.push is not None:
        log.info("uploaded: %s", push(out, config.push, public=config.public))
    return out


def _write(config: ExportConfig, encoder: Encoder, home: Path | None, part: Path) -> Agreement:
    pictures = jpegs(home, encoder.spec.channels)
    write_format(config.format, encoder, part)
    theirs = None
    if config.format == "timm":
        settings = timm_config(encoder)
        theirs = _nearest_filter(encoder, settings, pictures)
        write_json(part / "config.json", settings)
    found = round_trip(config.format, part, encoder, pictures)
    agreement = Agreement(found, len(pictures), theirs)
    write_card(part, config.format, encoder, home, agreement, config.license)
    return agreement


def _nearest_filter(encoder: Encoder, settings: Json, pictures: dict[str, bytes]) -> float:
    """Settle the filter with which timm's own transform comes nearest; returns the difference."""
    ours = embed_here(encoder, pictures)
    found = {}
    for name in ("bicubic", "bilinear"):
        settings["pretrained_cfg"]["interpolation"] = name
        found[name] = difference(embed_here(encoder, pictures, timm_transform(settings)), ours)
    best = min(found, key=lambda name: found[name])
    settings["pretrained_cfg"]["interpolation"] = best
    return found[best]


def _check_place(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    ours = any((out / name).is_file() for name in ("embed.py", *ARRAY_FILES.values()))
    if not ours or not (out / "README.md").is_file():
        raise UserError(
            f"--out {shown(out)}: something else is already there; choose another --out"
        )
    if not overwrite:
        raise UserError(
            f"--out {shown(out)}: an export is already there; give --overwrite to replace it, or "
            "another --out"
        )


def _home(path: Path) -> Path | None:
    """The run that an encoder's folder belongs to, if it lies in one."""
    path = path.resolve()
    for folder in (path, *path.parents[:2]):
        try:
            read_run(folder)
        except UserError:  # the settings of an encoder, or nothing
            continue
        return folder
    return None


def _say(config: ExportConfig, out: Path, agreement: Agreement) -> None:
    log.info("written: %s, whose README.md has the lines that use it", shown(out))
    if not agreement.pictures:
        log.info(
            "read back, it agrees on made-up samples: largest difference %.1e (limit %g) of the "
            "embeddings' root mean square",
            *(agreement.largest, LIMIT),
        )
        return
    log.info(
        "a fresh process with %s alone agrees on %d JPEGs: largest difference %.1e (limit %g) of "
        "the embeddings' root mean square",
        NEEDS[config.format], agreement.pictures, agreement.largest, LIMIT,
    )  # fmt: skip
    if agreement.own_transform is not None:
        log.info(
            "timm's own transform resizes with other filters: with it embeddings differ by up to "
            "%.2g of their root mean square; embed.py has the exact one",
            agreement.own_transform,
        )
