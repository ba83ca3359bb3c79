"""README.md of an exported folder: the model card that the hub shows."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from isojepa.boundaries import reading, trying
from isojepa.embeddings.measurement import LEAST_ROWS, measure
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.verdict import judge_samples
from isojepa.encoders.evaluation.results import read_scores
from isojepa.encoders.export.formats import NEEDS, Format
from isojepa.encoders.export.uses import uses
from isojepa.encoders.images_record import ImagesRecord
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.files import load_arrays, write_atomically
from isojepa.runs.record import RunRecord, read_run
from isojepa.theme.wording import number, percent
from isojepa.version import __version__

SETTINGS = (
    "model", "pretrained", "image_size", "recipe", "global_views", "local_views", "steps",
    "batch_size", "lr", "weight_decay", "lambd", "slices", "knots", "projection_dim", "seed",
)  # fmt: skip
LIBRARIES = {"timm": "timm", "safetensors": "timm", "onnx": "onnx", "torch-export": "pytorch"}
Rows = Iterable[tuple[object, ...]]


class Agreement(NamedTuple):
    """How an exported folder compares with the encoder."""

    largest: float
    """Difference of embed.py's embeddings, over the root mean square of the encoder's."""
    pictures: int
    own_transform: float | None
    """The same with timm's own transform before it; None for other formats."""


def write_card(
    folder: Path,
    kind: Format,
    encoder: Encoder,
    run: Path | None,
    agreement: Agreement,
    license: str | None,
) -> None:
    """Write the card.

    Args:
        run: where the encoder was trained, as far as it is known.
        license: of the weights, by the hub's word for it.
    """
    record = None if run is None else read_run(run)
    parts = [
        *_front(kind, license),
        f"# {encoder.spec.model}, trained with LeJEPA",
        f"An image encoder, trained without labels by isojepa {__version__}: images in, "
        f"embeddings of {encoder.embedding_dim} numbers out, made to be isotropic Gaussian.",
        "## Use",
        *uses(kind, encoder),
        "## Agreement",
        _agreement(kind, agreement),
    ]
    if run is not None and record is not None:
        with trying("the run's own part of the model card"):
            parts += [*_data(record, run), *_training(record), *_isotropy(run), *_scores(run)]
    parts += ["## Licence", *_license(record, license)]
    write_atomically(folder / "README.md", "\n\n".join(parts) + "\n")


def _front(kind: Format, license: str | None) -> Iterator[str]:
    lines = ["---", f"library_name: {LIBRARIES[kind]}", "pipeline_tag: image-feature-extraction"]
    lines += ["tags: [isojepa, lejepa, self-supervised-learning, feature-extraction]"]
    lines += [] if license is None else [f"license: {license}"]
    yield "\n".join([*lines, "---"])


def _agreement(kind: Format, agreement: Agreement) -> str:
    words = (
        f"A fresh process with {NEEDS[kind]} alone ran `embed.py` on {agreement.pictures} JPEGs. "
        f"The largest difference from the trained encoder was {agreement.largest:.1e} of the "
        "embeddings' root mean square."
    )
    if agreement.own_transform is not None:
        words += (
            " With timm's own transform, whose resizing filters are others, it was "
            f"{agreement.own_transform:.2g}. The network that timm builds gives embeddings before "
            "they are centred and partly whitened; `embed.py` does that by "
            "`whitening.safetensors`, where that is there."
        )
    return words


def _data(record: RunRecord, run: Path) -> Iterator[str]:
    data = ImagesRecord.of(record, run)
    yield "## Data"
    rows = [("images", f"{data.images:,}"), ("trained on", f"{data.train:,}")]
    rows += [("held out", f"{data.test:,}"), ("unreadable, left out", f"{data.skipped:,}")]
    if data.classes is not None:
        names = ", ".join(data.classes[:12]) + (", ..." if len(data.classes) > 12 else "")
        rows.append((f"{len(data.classes)} classes, for scores alone", names))
    rows.append(("channels", str(data.form.get("channels", "?"))))
    yield _table(("", ""), rows)


def _training(record: RunRecord) -> Iterator[str]:
    yield "## Training"
    known = [(name, record.config[name]) for name in SETTINGS if name in record.config]
    rows = [(f"`{name}`", "" if value is None else value) for name, value in known]
    if record.made.hardware:
        rows.append(("hardware", record.made.hardware))
    if record.seconds is not None:
        rows.append(("seconds", f"{record.seconds:,.0f}"))
    yield _table(("setting", "value"), rows)


def _isotropy(run: Path) -> Iterator[str]:
    path = run / "sample.npz"
    if not path.is_file():
        return
    with reading(path, "arrays"), load_arrays(path) as archive:
        arrays = {name: archive[name] for name in ("embeddings", "projections")}
    rows = []
    for name, x in arrays.items():
        if len(x) < LEAST_ROWS or not np.isfinite(x).all():
            continue
        found = measure(from_array(x.astype(np.float32), name), any_scale=name == "embeddings")
        s, verdict = found.spectrum, judge_samples(found)
        rank = f"{s.effective_rank:.1f} of {s.d}"
        even = f"{s.isotropic_rank:.1f}"
        rows.append((name, s.n, rank, even, number(s.deviation), ", ".join(verdict.states)))
    if rows:
        yield "## Isotropy"
        yield (
            "Measured on a sample of the images, held-out ones first. SIGReg acts on the "
            "projections, whose target is N(0, I); embeddings are judged at any scale."
        )
        head = ("", "images", "effective rank", "of an isotropic Gaussian", "deviation", "verdict")
        yield _table(head, rows)


def _scores(run: Path) -> Iterator[str]:
    path = run / "scores.json"
    if not path.is_file():
        return
    table = read_scores(path)
    yield "## Scores"
    yield "Accuracy on the held-out images with the encoder frozen, beside what it has to beat."
    yield _table(
        ("features", "linear probe", "k-NN", "kernel"),
        [(name, *map(percent, (x.linear, x.knn, x.kernel))) for name, x in table.items()],
    )


def _license(record: RunRecord | None, license: str | None) -> Iterator[str]:
    yield (
        "None has been stated for these weights (`isojepa export --license`)."
        if license is None
        else f"Of these weights: {license}."
    )
    if record is not None and record.config.get("pretrained"):
        yield (
            f"Training started from timm's published weights of {record.config.get('model')}, "
            "whose licence applies as well."
        )
    yield "Images may carry terms of their own."


def _table(head: tuple[str, ...], rows: Rows) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
