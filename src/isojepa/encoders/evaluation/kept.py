"""Scores of baselines, kept from run to run: the same features of the same samples score the same.

An entry is found by a digest of the features and labels themselves, so that nothing can be mistaken
for it; it is a small JSON file in the folder of caches.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sklearn
from jaxtyping import Int

from isojepa.boundaries import trying
from isojepa.caches.folder import chosen_folder, touch
from isojepa.encoders.evaluation.results import Scores
from isojepa.encoders.evaluation.scores import Features
from isojepa.errors import UserError
from isojepa.runs.typed import read_result, write_result
from isojepa.version import __version__

KIND = "scores"


def kept_scores(
    features: Features,
    labels: tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]],
    seed: int,
    compute: Callable[[], Scores],
) -> Scores:
    """What was computed before of these very numbers, or now; a cache that cannot be is none."""
    folder = chosen_folder()
    if folder is None:
        return compute()
    file = folder / KIND / f"{digest(features, labels, seed)}.json"
    found = _read(file)
    if found is not None:
        touch(file)
        return found
    scores = compute()
    with trying("keeping the scores of a baseline"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_result(file, scores)
    return scores


def digest(
    features: Features, labels: tuple[Int[np.ndarray, " n"], Int[np.ndarray, " m"]], seed: int
) -> str:
    """Of all that scores depend on: numbers, labels, seed, and the code that reads them."""
    found = hashlib.blake2b(digest_size=16)
    found.update(f"{__version__} {sklearn.__version__} {seed}".encode())
    for array in (*features, *labels):
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _read(file: Path) -> Scores | None:
    if not file.is_file():
        return None
    try:
        return read_result(Scores, file)
    except UserError:  # cut short by a full disk: it is computed and written again
        return None
