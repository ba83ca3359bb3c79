"""Episodes of frames and actions, opened once; windows of them are cut here."""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, UInt8
from torch import Tensor

from isojepa.boundaries import shown
from isojepa.caches.folder import Uncacheable
from isojepa.errors import UserError
from isojepa.world.episodes.action_scale import ActionScale
from isojepa.world.episodes.decoded import decoded_frames, resized
from isojepa.world.episodes.formats.actions import Alignment, aligned_actions, log_actions
from isojepa.world.episodes.formats.formats import read_source
from isojepa.world.episodes.formats.source import EpisodeSource, no_such

log = logging.getLogger(__name__)


class Clips(NamedTuple):
    """A batch of windows; b clips, t frames that lie `frame_skip` environment steps apart."""

    frames: UInt8[Tensor, "b t c y x"]
    """Channels-last in memory: a view, not a copy, of what was read."""
    actions: Float[Tensor, "b t a"]
    """The block of `frame_skip` actions that leads from frame i to frame i + 1, one action after
    the other, normalised. Zeros for the last frame when the episode ends within its block."""
    position: Int64[Tensor, "b 2"]
    """(episode, environment step of the first frame)."""


class Trajectories:
    """A data set opened at one frame size; made by `open_trajectories`.

    Frames stay on disk, memory-mapped; the other columns are in memory.
    """

    def __init__(
        self,
        path: Path,
        source: EpisodeSource,
        lengths: Int64[np.ndarray, " e"],
        frames: np.ndarray | Callable[[np.ndarray], np.ndarray],
        frame_size: int,
        actions: Float32[np.ndarray, "n a"],
        action_alignment: Alignment | None,
    ) -> None:
        self.path = path
        self.lengths = lengths
        """Environment steps, which is frames, per episode."""
        self.frame_size = frame_size
        self.env_id = source.env_id
        """The environment's id where the data set recorded it."""
        self._starts = np.cumsum(lengths) - lengths
        self._frames = frames
        self._columns = {name: v for name, v in source.columns.items() if name != "action"}
        self._actions = actions
        self.action_alignment = action_alignment
        """How actions were stored: `next` where each leads from its frame to the next, `previous`
        where each led to its frame; None without actions. `actions` gives them as `next`."""

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def action_dim(self) -> int:
        """Dimensions of one action of the environment; 0 for plain videos."""
        return self._actions.shape[1]

    @property
    def columns(self) -> dict[str, tuple[int, ...]]:
        """Name and shape per step of the columns beside frames and actions."""
        return {name: values.shape[1:] for name, values in self._columns.items()}

    def frames(
        self, episode: int, start: int, stop: int, step: int = 1
    ) -> UInt8[np.ndarray, "n y x c"]:
        """Frames start, start + step, ... before stop of an episode, channels last."""
        return self.rows(self._rows(episode, start, stop, step))

    def actions(self, episode: int, start: int, stop: int) -> Float32[np.ndarray, "n a"]:
        """Actions as the environment takes them; action i leads from frame i to frame i + 1.

        The last of an episode is NaN where nothing was recorded for it.
        """
        return self._actions[self._rows(episode, start, stop)]

    def column(self, name: str, episode: int | None = None) -> np.ndarray:
        """A per-step column, of one episode or of all, one after the other.

        Raises:
            UserError: if the data set has no such column.
        """
        if name not in self._columns:
            raise no_such(self.path, "column", name, list(self._columns))
        values = self._columns[name]
        if episode is None:
            return values
        return values[self._rows(episode, 0, int(self.lengths[episode]))]

    def rows(self, rows: Int64[np.ndarray, " n"]) -> UInt8[np.ndarray, "n y x c"]:
        """Frames by their row in the whole data set, the episodes one after the other."""
        return self._frames(rows) if callable(self._frames) else self._frames[rows]

    def episode_fingerprint(self, episode: int) -> str:
        """What an episode holds, in 16 characters: its length, actions, first and last frame.

        It is the same wherever the file lies, whatever was appended to it and in whatever order
        its episodes are stored; another frame size or camera gives another one. Episodes that
        are equal in all of this share theirs. Two frames are read.
        """
        n = int(self.lengths[episode])
        digest = hashlib.sha256(f"{n} {self._actions.shape[1]} {self.frame_size}".encode())
        digest.update(np.ascontiguousarray(self.actions(episode, 0, n - 1)).tobytes())
        for step in (0, n - 1):
            digest.update(np.ascontiguousarray(self.frames(episode, step, step + 1)).tobytes())
        return digest.hexdigest()[:16]

    def clips(
        self,
        positions: Int64[np.ndarray, "b two"],
        *,
        frames: int,
        frame_skip: int,
        scale: ActionScale | None,
    ) -> Clips:
        """The windows that start at the given (episode, step) pairs."""
        episode, first = positions[:, 0], positions[:, 1]
        steps = first[:, None] + frame_skip * np.arange(frames)
        rows = self._starts[episode][:, None] + steps
        pixels = torch.from_numpy(self.rows(rows.reshape(-1)))
        pixels = pixels.unflatten(0, rows.shape).permute(0, 1, 4, 2, 3)
        within = steps[..., None] + np.arange(frame_skip)
        # The action at an episode's last step leads to no recorded frame
        exists = within < self.lengths[episode][:, None, None] - 1
        taken = self._starts[episode][:, None, None] + np.where(exists, within, 0)
        actions = self._actions[taken].reshape(len(rows), frames, frame_skip * self.action_dim)
        blocks = torch.from_numpy(actions)
        if scale is not None:
            blocks = scale.normalise(blocks)
        blocks = torch.where(torch.from_numpy(exists.all(-1))[..., None], blocks, 0.0)
        return Clips(pixels, blocks, torch.from_numpy(positions))

    def _rows(self, episode: int, start: int, stop: int, step: int = 1) -> Int64[np.ndarray, " n"]:
        if not 0 <= start <= stop <= self.lengths[episode]:
            raise IndexError(
                f"steps {start} to {stop} of episode {episode}, which has {self.lengths[episode]}"
            )
        return self._starts[episode] + np.arange(start, stop, step)


def episode_rows(
    trajectories: Trajectories, episodes: Int64[np.ndarray, " m"]
) -> Int64[np.ndarray, " n"]:
    """The rows of whole episodes, counted over the data set."""
    starts = np.cumsum(trajectories.lengths) - trajectories.lengths
    return np.concatenate([starts[e] + np.arange(trajectories.lengths[e]) for e in episodes])


def open_trajectories(
    path: str | Path,
    *,
    frame_size: int | None = None,
    cache: Path | None = None,
    camera: str | None = None,
    action_alignment: Alignment | None = None,
) -> Trajectories:
    """Open a data set of episodes.

    Reads Lance tables and HDF5 files of the `stable-worldmodel` platform, the official LeWM files,
    HDF5 files of robomimic, LIBERO, Minari and D4RL, OGBench's .npz, LeRobot data sets (versions 2
    and 3), and video files without actions, alone or in a folder.

    Args:
        frame_size: side of the square frames in pixels; by default that of the stored frames, the
            shorter side where they are not square.
        cache: folder of decoded frames; by default `isojepa/frames` in the user's cache folder.
        camera: column of the frames, or the last part of its name (`top` for
            `observation.images.top`), where there are several. By default the platform's `pixels`,
            or the only one. LeRobot has no main camera, and a guess by name (`cam_high`, or
            `cam_left_wrist`?) would train on a view that nobody chose: there it must be named.
        action_alignment: `next` where the action of a row leads from its frame to the next,
            `previous` where it led to its frame. By default `previous` if the first action of
            every episode is NaN, else `next`.

    Raises:
        UserError: if it cannot be read, is empty, misses a column, has several cameras and none is
            chosen, its rows and frames do not add up, or it has NaN among its actions elsewhere
            than at the first step of all episodes or at last steps.
    """
    path = Path(path)
    source = read_source(path, camera)
    if source.lengths is not None and len(source.lengths) == 0:
        raise UserError(f"{shown(path)}: the data set holds no episodes")
    size = min(source.size) if frame_size is None else frame_size
    if size < 1:
        raise UserError(f"frame size {size}: expected at least 1 pixel")
    lengths = source.lengths if source.lengths is not None else np.zeros(0, np.int64)
    actions, found = aligned_actions(source, path, lengths, action_alignment)  # before decoding
    log_actions(source, path, actions, lengths, found)
    frames, lengths = _frames(source, path, size, cache)
    if source.lengths is None:
        actions = np.zeros((int(lengths.sum()), 0), np.float32)
    return Trajectories(path, source, lengths, frames, size, actions, found)


def _frames(
    source: EpisodeSource, path: Path, size: int, cache: Path | None
) -> tuple[np.ndarray | Callable[[np.ndarray], np.ndarray], np.ndarray]:
    """Frames as an array or a way to read them, and the lengths of the episodes."""
    if source.direct is not None and source.size == (size, size):
        assert source.lengths is not None
        return source.direct, source.lengths
    try:
        return decoded_frames(source, path, frame_size=size, cache=cache)
    except Uncacheable as refusal:
        if source.direct is None or source.lengths is None:
            raise
        log.warning("%s; resizing frames at each use instead", str(refusal).rstrip("."))
        return resized(source.direct, size), source.lengths
