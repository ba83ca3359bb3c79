"""A trained world model beside the episodes to study it on: embeddings of chosen frames."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from isojepa.boundaries import shown
from isojepa.devices import Device
from isojepa.embeddings.samples import draw_rows
from isojepa.errors import UserError
from isojepa.progress import track
from isojepa.runs.settings import require
from isojepa.world.environments.environment import Environment, Row
from isojepa.world.environments.registry import ENVIRONMENTS
from isojepa.world.episodes.clips import split_episodes
from isojepa.world.episodes.trajectories import Trajectories
from isojepa.world.learning.measures import encode
from isojepa.world.learning.split import Split
from isojepa.world.learning.trained import open_trained
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)
HELD_OUT = 0.2
"""Share of the episodes to hold out where training held out none."""
AT_ONCE = 256  # frames


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """What every study of a trained world model may be told."""

    run: Path
    """Run folder of `isojepa world train`."""
    data: Path | None = None
    """Data set to study it on. Default: the run's own."""
    new_episodes: bool = False
    """Report on episodes added since training too, not only on those held out."""
    seed: int = 0
    """Of all that is drawn at random."""
    device: Device = "auto"
    """Where to compute."""
    cache: Path | None = None
    """Folder of decoded frames. Default: the run's."""

    def __post_init__(self) -> None:
        require(self.seed >= 0, "--seed must not be negative")

    def open(self) -> "Study":
        """The run and the data set; see `open_study`."""
        return open_study(
            self.run, self.data, device=self.device, cache=self.cache, new=self.new_episodes
        )


@dataclass(frozen=True)
class SplitSizes:
    """How many episodes or frames were learnt from, and how many reported on."""

    train: int
    held_out: int


class Study(NamedTuple):
    """A trained model and a data set, its episodes split."""

    run: Path
    data: Path
    model: WorldModel
    """In eval mode, on its device."""
    trajectories: Trajectories
    train: Int64[np.ndarray, " m"]
    """Episodes to fit readers on."""
    held_out: Int64[np.ndarray, " k"]
    """Episodes to report on."""
    unseen: bool
    """Whether the model has never seen the held-out episodes."""
    known: Environment | None
    """What is known of the data set's environment."""

    @property
    def distance(self) -> Callable[[Row, Row], np.ndarray] | None:
        """Of two states, where the environment has one and the data set records the states."""
        known = self.known
        recorded = known and all(name in self.trajectories.columns for name in known.needs)
        return known.distance if known and recorded else None

    def states(self, rows: Int64[np.ndarray, " n"]) -> Row:
        """What of the environment's state `distance` takes, at some rows."""
        needs = self.known.needs if self.known else ()
        return {name: self.trajectories.column(name)[rows] for name in needs}


def open_study(
    run: Path,
    data: Path | None = None,
    *,
    device: Device = "auto",
    cache: Path | None = None,
    new: bool = False,
) -> Study:
    """Read a run and a data set, by default the run's own, split as it was for training.

    Args:
        new: report on episodes that were added since, too.

    Raises:
        UserError: if either cannot be read, they do not fit, or there is but one episode.
    """
    trained = open_trained(run, data, device=device, cache=cache, new=new)
    settings, model, path, trajectories, split = trained
    train, held_out, unseen = reader_split(split, seed=int(settings.get("seed", 0)), new=new)
    if not len(held_out):
        raise UserError(
            f"{shown(path)}: holds a single episode, and some must be held out; collect more"
        )
    if not unseen:
        log.warning("%s was trained on all episodes: those held out now are not new to it", run)
    known = ENVIRONMENTS.get(trajectories.env_id or "")
    return Study(run, path, model, trajectories, train, held_out, unseen, known)


def reader_split(
    split: Split, *, seed: int, new: bool
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " k"], bool]:
    """Episodes to fit readers on, those to report on, and whether the model never saw the latter.

    Fitted on what the model was trained on, reported on what it never saw; where there is only one
    kind, that is split. Both ascending.
    """
    unseen = split.unseen(new=new)
    if len(unseen) and len(split.train):
        return np.sort(split.train), np.sort(unseen), True
    only = np.sort(unseen if len(unseen) else split.train)
    train, held_out = split_episodes(len(only), held_out=HELD_OUT, seed=seed)
    return only[train], only[held_out], len(unseen) > 0


def locate(
    trajectories: Trajectories, rows: Int64[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Episode and environment step of each row."""
    ends = np.cumsum(trajectories.lengths)
    episode = np.searchsorted(ends, rows, side="right")
    return episode, rows - (ends - trajectories.lengths)[episode]


def sampled(values: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """At most so many of the values, in their order, drawn without replacement."""
    return values[draw_rows(len(values), most, seed)]


def rows_at(
    trajectories: Trajectories, moments: Int64[np.ndarray, "n two"]
) -> Int64[np.ndarray, " n"]:
    """The rows of (episode, environment step): the inverse of `locate`."""
    return (np.cumsum(trajectories.lengths) - trajectories.lengths)[moments[:, 0]] + moments[:, 1]


def embed_rows(
    model: WorldModel,
    trajectories: Trajectories,
    rows: Int64[np.ndarray, " n"],
    *,
    words: str = "embedding frames",
) -> Float32[np.ndarray, "n d"]:
    """Embeddings of the frames of some rows, read and encoded a few at a time."""
    parts = np.array_split(rows, max(1, -(-len(rows) // AT_ONCE)))
    done = [
        encode(model, channels_first(trajectories.rows(part))[:, None])[:, 0].cpu().numpy()
        for part in track(parts, len(parts), words)
    ]
    return np.concatenate(done)


def channels_first(frames: UInt8[np.ndarray, "*n y x c"]) -> UInt8[Tensor, "*n c y x"]:
    """Frames as the model takes them: a view of the same memory, copied only if read-only."""
    tensor = torch.from_numpy(frames if frames.flags.writeable else frames.copy())
    return tensor.movedim(-1, -3)


def shrink(frames: UInt8[np.ndarray, "n y x c"], size: int) -> UInt8[np.ndarray, "n s t c"]:
    """Frames brought down to squares of `size` pixels, as thumbnails are."""
    if frames.shape[1:3] == (size, size):
        return frames
    small = (
        Image.fromarray(np.ascontiguousarray(f)).resize((size, size), Image.Resampling.BOX)
        for f in frames
    )
    return np.stack([np.asarray(image) for image in small])
