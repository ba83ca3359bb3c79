"""Score a trained encoder, and the baselines it has to beat, on labelled images."""

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import tyro
from rich import box
from rich.table import Table

from isojepa.boundaries import shown, trying
from isojepa.caches.folder import caching
from isojepa.devices import Device
from isojepa.distributed import rank
from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.evaluation.kept import kept_scores
from isojepa.encoders.evaluation.labelled import Labelled
from isojepa.encoders.evaluation.results import FewShot, Scores, write_scores
from isojepa.encoders.evaluation.scores import Features, raw_baselines, score_representation
from isojepa.encoders.evaluation.split import (
    RunSplit,
    as_in_run,
    as_recomputed,
    repeated_tests,
    with_run_labels,
)
from isojepa.encoders.evaluation.whitening import whitened
from isojepa.encoders.modalities.modality import Dataset, Network, Place, Source
from isojepa.encoders.modalities.registry import modality_of_encoder
from isojepa.encoders.modalities.stored import load_encoder
from isojepa.encoders.sources.folder import UNLABELLED, why_no_scores
from isojepa.encoders.sources.held_out import HeldOut, read_held_out
from isojepa.encoders.sources.inputs import Data, same
from isojepa.encoders.sources.notes import warn_once
from isojepa.errors import UserError
from isojepa.progress import bar, console, track
from isojepa.randomness import epoch_order, seed_from
from isojepa.runs.record import read_run
from isojepa.runs.settings import as_paths
from isojepa.runs.tables import write_skipped
from isojepa.training.launch import start_processes
from isojepa.training.ranks import together

log = logging.getLogger(__name__)
UNTRAINED_SEED = 5  # the stream of the untrained encoder's weights
NAMES = {"encoder": "this encoder", "untrained": "untrained", "pca": "PCA", "pixels": "pixels"}


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """Score a frozen encoder with linear, k-NN, kernel and few-shot classifiers."""

    run: tyro.conf.Positional[Path]
    """Run folder of `isojepa pretrain`."""
    data: Path | tuple[Path, ...] | None = None
    """Labelled images: what pretrain reads. Default: the run's own, with its own held-out ones."""
    labels: Path | None = None
    """Table with the columns path and label, in place of class folders: .csv, .tsv, .txt, .gz or
    .parquet."""
    holdout: float = 0.2
    """Share held out for the scores, in (0, 1), where neither the run nor folders say so."""
    max_images: int = 20_000
    """Images used at most, of the training and of the held-out ones each."""
    device: Device = "auto"
    """Where to compute the embeddings."""
    devices: int = 1
    """Devices to share that among, each a process; under srun or torchrun, the processes of all
    nodes."""
    seed: int = 0
    """Of the choice of images, the validation splits and the few-shot draws."""
    out: Path | None = None
    """JSON file for the scores. Default: RUN/scores.json."""
    cache: Path | None = None
    """Folder in which decoded images are kept for the next time. Default: ISOJEPA_CACHE, else
    isojepa/ in the user's cache folder."""
    no_cache: tyro.conf.FlagCreatePairsOff[bool] = False
    """Keep no decoded images and use none that were kept."""

    def __post_init__(self) -> None:
        as_paths(self, "run", "data", "labels", "out", "cache")
        if not 0 < self.holdout < 1:
            raise UserError("--holdout must lie in (0, 1)")
        if self.max_images < 1:
            raise UserError("--max-images must be at least 1")
        if self.devices < 1:
            raise UserError("--devices must be at least 1")


def read_for(
    encoder: Network, data: Data, labels: Path | None, out: Path, leave_out: tuple[Path, ...] = ()
) -> Dataset:
    """The samples of a source as the encoder needs them, with fingerprints of their contents.

    Args:
        out: file to be written, beside which the files that were skipped are listed.
        leave_out: files and folders that are none of the samples.
    """
    source = find_for(encoder, data, labels, (out, *leave_out))
    found = read_found(encoder, source)
    found = replace(found, skipped=[*found.listing.unreachable, *found.skipped])
    tell_skipped(out, found.skipped)
    return found


def find_for(
    encoder: Network, data: Data, labels: Path | None, leave_out: tuple[Path, ...]
) -> Source:
    """What lies there, as the encoder's kind of data sees it."""
    place = Place(data, labels, leave_out)
    columns = getattr(encoder.spec, "columns", place.columns)
    pages = getattr(encoder.spec, "pages", place.pages)
    place = place._replace(columns=columns, pages=pages)
    return modality_of_encoder(encoder).read.find(place, track)


def read_found(encoder: Network, source: Source) -> Dataset:
    """The samples of what was found."""
    reading = modality_of_encoder(encoder).read
    found: Dataset = reading.read(source, reading.form_of(encoder.spec), track)
    for note in found.notes:
        warn_once(found.listing.root, note)
    return found


def tell_skipped(out: Path, skipped: list[tuple[str, str]]) -> None:
    """Say what was skipped, and list it beside the file to be written; on the first rank."""
    if not skipped or rank() != 0:
        return
    name, reason = skipped[0]
    log.warning("%d files skipped, for example '%s': %s", len(skipped), shown(name), shown(reason))
    with trying("the list of skipped files"):
        log.warning("all are listed in %s", shown(write_skipped(out, skipped)))


def evaluate(config: EvaluateConfig) -> dict[str, Scores]:
    """Score the run's encoder and its baselines, print the table and write the JSON file."""
    with caching(config.cache, off=config.no_cache):
        return _run(config)


def _run(config: EvaluateConfig) -> dict[str, Scores]:
    device = start_processes(config.device, config.devices)
    labelled = together(lambda: _labelled(config, device))
    encoder, images, repeated, out = labelled
    shared, seed = config.devices > 1, config.seed
    found = scores_of(encoder, images, max_images=config.max_images, seed=seed, shared=shared)
    scores = {name: replace(row, n_repeated=repeated) for name, row in found}
    if scores:
        print_scores(scores)
        write_scores(out, scores)
    return scores


def _labelled(config: EvaluateConfig, device: torch.device) -> tuple[Network, Dataset, int, Path]:
    """The encoder, the images with those held out, how many of them it saw, and the file."""
    made = RunSplit.of(read_run(config.run), config.run)
    out = config.out or config.run / "scores.json"
    encoder, record = load_on(config.run, device), read_held_out(config.run)
    data = config.data or made.own(config.run)
    labels = config.labels
    table = made.labels if labels is None else None
    if table and config.data is None and (table.is_file() or record is None):
        labels, table = table, None
    images = read_for(encoder, data, labels, out, (config.run,))
    if table and record is not None:
        images = with_run_labels(images, record)
    images = split(config, images, made, record)
    repeated = repeated_tests(images, record)
    if repeated:
        log.warning(
            "%d of the held-out samples are byte for byte samples that were trained on: the scores "
            "are too good by them",
            repeated,
        )
    return encoder, images, repeated, out


def scores_of(
    encoder: Network,
    images: Dataset,
    *,
    max_images: int = 20_000,
    seed: int = 0,
    shared: bool = False,
) -> Iterator[tuple[str, Scores]]:
    """Yield (name, scores) for the encoder and each baseline, on the images held out.

    Args:
        encoder: on the device to use.
        images: labelled, with the held-out ones marked.
        shared: share the embedding among all ranks, of which the first alone then scores.

    Raises:
        UserError: if no labels exist on either side of the split.
    """
    missing = why_no_scores(images.labels, images.held_out)
    if missing is not None or images.labels is None:
        raise UserError(f"--data {shown(images.listing.root)}: no scores: {missing}")
    train, test = (
        _choose(np.flatnonzero((images.labels != UNLABELLED) & which), max_images, seed)
        for which in (~images.held_out, images.held_out)
    )
    representations: dict[str, Features] = {}
    both = np.concatenate([train, test])
    for name, network in (("encoder", encoder), ("untrained", _untrained(encoder, images))):
        if network is not None:
            x = embed_samples(network, images, both, shared=shared, track=track).cpu().numpy()
            representations[name] = (x[: len(train)], x[len(train) :])
    if shared and rank() != 0:
        return
    kind = modality_of_encoder(encoder)
    plain = kind.read.raw(images, both)
    raw = kind.read.WORDS.raw
    representations |= raw_baselines(plain[: len(train)], plain[len(train) :], raw)
    order = ("encoder", "untrained", "pca", raw)
    ordered = {name: representations[name] for name in order if name in representations}
    y = images.labels
    with bar(len(ordered), "scoring") as advance:
        for name, features in ordered.items():
            labels = (y[train], y[test])
            compute = partial(_scores, features, labels, seed)
            scores = (
                compute() if name == "encoder" else kept_scores(features, labels, seed, compute)
            )
            advance(1, NAMES.get(name, name))
            yield name, scores


def _scores(features: Features, labels: tuple[np.ndarray, np.ndarray], seed: int) -> Scores:
    (x_train, x_test), (y_train, y_test) = features, labels
    return score_representation(Labelled(x_train, y_train), Labelled(x_test, y_test), seed=seed)


def split(
    config: EvaluateConfig, images: Dataset, made: RunSplit, record: HeldOut | None
) -> Dataset:
    """Mark the held-out images: as in the run, if these are its images, else by `holdout`."""
    share, seed = config.holdout, config.seed
    asked = config.data is not None
    if record is not None:
        return as_in_run(images, record, asked=asked, holdout=share, seed=seed)
    names = b"\n".join(map(os.fsencode, images.listing.names))
    own = (
        config.data is None
        or same(config.data, made.data)
        or hashlib.sha256(names).hexdigest()[:16] == made.fingerprint
    )
    return as_recomputed(images, made, own=own, holdout=share, seed=seed)


def print_scores(scores: dict[str, Scores]) -> None:
    """Print the table of scores."""
    shots = sorted({s for row in scores.values() for s in row.shots})
    first = next(iter(scores.values()))
    table = Table(
        title=f"Accuracy in % on {first.n_test} held-out samples",
        caption=f"Learnt from {first.n_train} labels; n-shot: from n per class, with the 95 % "
        "interval of the mean over 100 draws.",
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    for column in ("", "linear", "k-NN", "kernel", *(f"{s}-shot" for s in shots)):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, row in scores.items():
        probes = (row.linear, row.knn, row.kernel)
        cells = ["–" if x is None else f"{100 * x:.1f}" for x in probes]
        cells += [_few(row.shots.get(s)) for s in shots]
        table.add_row(NAMES.get(name, name), *cells, style="bold" if name == "encoder" else "")
    console.print(table)


def _few(shot: FewShot | None) -> str:
    if shot is None or shot.interval is None:
        return "–"
    low, high = shot.interval
    return f"{100 * shot.mean:.1f} ±{50 * (high - low):.1f}"


def _choose(indices: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(indices) <= most:
        return indices
    return np.sort(indices[epoch_order(len(indices), seed=seed, epoch=0).numpy()[:most]])


def _untrained(encoder: Network, images: Dataset) -> Network | None:
    """The same network with its initial weights; a module passed from Python has no recipe.

    Where the encoder's embeddings are white, so are these: it is training that is compared.
    """
    if encoder.spec.model == "custom":
        return None
    torch.manual_seed(seed_from(0, UNTRAINED_SEED))
    networks = modality_of_encoder(encoder).network
    white = getattr(encoder.spec, "whitened", False)
    spec = replace(encoder.spec, whitened=False) if white else encoder.spec
    fresh: Network = networks.network(spec, None, pretrained=False)
    fresh.to(next(encoder.parameters()).device)
    learnt_from = torch.from_numpy(np.flatnonzero(~images.held_out))
    return (whitened(fresh, images, learnt_from) if white else fresh).eval()


def load_on(run: Path, device: torch.device) -> Network:
    """The run's encoder, in eval mode, on the device."""
    return load_encoder(run).to(device)
