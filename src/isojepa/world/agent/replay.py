"""Everything an agent has seen, on disk: a ring of frames and actions that survives a kill.

Row i holds what was seen at decision i and the action then taken; the last row of an episode has
none. A row is written once, the frame before the entry with its checksum, by the file's own
`write`: a full disk is an error and not a crash, and after SIGKILL every row whose checksum agrees
is whole. Reading maps the file into memory.

The ring is longer than the memory it stands for by `slack` rows: what a checkpoint's memory held
is still there when a run goes on from it, so that going on equals never having stopped.
"""

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8, UInt32

from isojepa.boundaries import reading, shown, writing
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.randomness import Stream, seed_from
from isojepa.runs.arrays import columns
from isojepa.runs.folder import write_json
from isojepa.runs.typed import read_json

FRAMES, ROWS, SIZES = "frames.u8", "rows.bin", "replay.json"


class Row(NamedTuple):
    """One decision."""

    frame: UInt8[np.ndarray, "y x c"]
    action: Float32[np.ndarray, " a"]
    """Taken here, as the agent gave it; zeros at the end of an episode."""
    planned: bool
    """Whether it, or what it was before exploration, came from planning."""
    advice: Float32[np.ndarray, " a"]
    """What the planner or the policy wanted, before exploration."""
    reward: float
    """Received on the way here, since the row before; 0 in an episode's first row."""
    first: bool
    """An episode begins."""
    terminated: bool
    """It ended here: nothing can be earned any more."""
    truncated: bool
    """It was cut here: it would have gone on."""


class RecalledClips(NamedTuple):
    """Windows of consecutive rows; b of them, t rows each, k frames stacked, newest last."""

    frames: UInt8[np.ndarray, "b t y x kc"]
    actions: Float32[np.ndarray, "b t a"]
    advice: Float32[np.ndarray, "b t a"]
    planned: Bool[np.ndarray, "b t"]
    rewards: Float32[np.ndarray, "b t"]
    """On the way to each row."""
    first: Bool[np.ndarray, "b t"]
    terminated: Bool[np.ndarray, "b t"]


@dataclass(frozen=True)
class Entries:
    """What the file of rows holds, by column: what a `Row` does but its frame, and where it is."""

    index: Int64[np.ndarray, "*n"]
    start: Int64[np.ndarray, "*n"]
    """Index of the first row of its episode."""
    action: Float32[np.ndarray, "*n a"]
    advice: Float32[np.ndarray, "*n a"]
    reward: Float32[np.ndarray, "*n"]
    planned: Bool[np.ndarray, "*n"]
    first: Bool[np.ndarray, "*n"]
    terminated: Bool[np.ndarray, "*n"]
    truncated: Bool[np.ndarray, "*n"]
    checksum: UInt32[np.ndarray, "*n"]


class Replay:
    """The ring of one run.

    Args:
        folder: made if it is missing; what is in it is kept.
        frame_size, a: sides of a frame, numbers in an action.
        capacity: most rows that are drawn from, the latest.
        slack: rows kept beyond these, for runs that go on from an earlier checkpoint.

    Raises:
        UserError: if the folder holds another kind of replay, or cannot be written.
    """

    def __init__(
        self, folder: Path, *, frame_size: int, a: int, capacity: int, slack: int = 0
    ) -> None:
        self.folder, self.capacity, self.places = folder, capacity, capacity + slack
        self.a, self._shape = a, (frame_size, frame_size, 3)
        self._entry = np.dtype(
            [
                ("index", "<i8"), ("start", "<i8"), ("action", "<f4", (a,)),
                ("advice", "<f4", (a,)), ("reward", "<f4"), ("planned", "?"), ("first", "?"),
                ("terminated", "?"), ("truncated", "?"), ("checksum", "<u4"),
            ]
        )  # fmt: skip
        self._open({"frame_size": frame_size, "a": a, "places": self.places, "version": 1})
        self.length = self._whole_rows()
        """Rows ever written."""

    def _open(self, sizes: Json) -> None:
        path = self.folder / SIZES
        if path.is_file():
            found = read_json(path)
            places = found.get("places") if isinstance(found, dict) else None
            fits = isinstance(places, int) and places >= self.capacity
            if not fits or found != sizes | {"places": places}:
                raise UserError(
                    f"{shown(path)}: of other sizes ({found}, not {sizes}); start again with "
                    "--overwrite"
                )
            self.places = int(str(places))
        else:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
        self._frames = self._file(FRAMES, self.places * int(np.prod(self._shape)))
        self._rows = self._file(ROWS, self.places * self._entry.itemsize)
        if not path.is_file():
            write_json(path, sizes)
        with reading(self.folder / FRAMES, "a replay's frames"):
            self._seen = np.memmap(
                self.folder / FRAMES, np.uint8, "r", shape=(self.places, *self._shape)
            )
        with reading(self.folder / ROWS, "a replay's rows"):
            self._said = np.memmap(self.folder / ROWS, self._entry, "r", shape=(self.places,))
        self._entries = columns(Entries, self._said)

    def _file(self, name: str, size: int) -> int:
        """Open a file of that size, whose unwritten parts take no room."""
        with writing(self.folder / name):
            file = os.open(self.folder / name, os.O_RDWR | os.O_CREAT, 0o644)
            if os.fstat(file).st_size != size:
                os.ftruncate(file, size)
        return file

    def append(self, row: Row) -> None:
        """Write a row; the one `places` before it is gone.

        Raises:
            UserError: if the disk is full.
        """
        index, place = self.length, self.length % self.places
        start = index if row.first else int(self._entries.start[(index - 1) % self.places])
        frame = np.ascontiguousarray(row.frame, np.uint8)
        assert frame.shape == self._shape, frame.shape
        said = (
            index, start, row.action, row.advice, row.reward, row.planned, row.first,
            row.terminated, row.truncated,
        )  # fmt: skip
        entry = np.array((*said, 0), self._entry)
        entry = np.array((*said, _checksum(entry, frame)), self._entry)
        with writing(self.folder / FRAMES):
            os.pwrite(self._frames, frame.data, place * frame.nbytes)
        with writing(self.folder / ROWS):
            os.pwrite(self._rows, entry.tobytes(), place * entry.nbytes)
        self.length += 1

    def _whole_rows(self) -> int:
        """Rows ever written, as far as the last ones are whole."""
        indices = self._entries.index
        order = np.argsort(indices, kind="stable")
        for place in order[::-1].tolist():
            index = int(indices[place])
            if index % self.places == place and self._is_whole(place):
                return index + 1
        return 0

    def _is_whole(self, place: int) -> bool:
        return int(self._entries.checksum[place]) == _checksum(self._said[place], self._seen[place])

    def check(self) -> int:
        """How many of the rows that can be drawn are damaged; reads them all."""
        rows = range(max(0, self.length - self.capacity), self.length)
        return sum(not self._is_whole(i % self.places) for i in rows)

    def forget_after(self, length: int) -> None:
        """Go back to an earlier length, of a checkpoint; what came later is written again.

        Raises:
            UserError: if it is longer than what is here, or too long ago.
        """
        if length > self.length:
            raise UserError(
                f"{shown(self.folder)}: {self.length} rows are left of the {length} that the "
                "checkpoint has seen; start again with --overwrite"
            )
        oldest = max(0, length - self.capacity)
        if oldest < self.length - self.places:
            raise UserError(
                f"{shown(self.folder)}: rows that the checkpoint needs were overwritten; start "
                "again with --overwrite"
            )
        self.length = length

    def flush(self) -> None:
        """Have the system put on the disk what it may still hold in memory."""
        with writing(self.folder / FRAMES):
            os.fsync(self._frames)
            os.fsync(self._rows)

    def close(self) -> None:
        """Close the files."""
        for file in (self._frames, self._rows):
            os.close(file)

    def sample(
        self, seed: int, step: int, *, batch: int, rows: int, stack: int = 1, share: slice
    ) -> RecalledClips:
        """Draw windows: a function of (seed, step, length) and of what the rows hold.

        Args:
            batch: windows; this rank gets the `share` of them.
            rows: consecutive rows in a window; an episode may end and the next begin in it.
            stack: frames that make one; before an episode's first they repeat it.
        """
        first = first_rows(seed, step, self.length, self.capacity, batch=batch, rows=rows)[share]
        return self.clips(first, rows=rows, stack=stack)

    def clips(self, first: Int64[np.ndarray, " b"], *, rows: int, stack: int = 1) -> RecalledClips:
        """The windows that begin at these rows."""
        index = first[:, None] + np.arange(rows)
        said = columns(Entries, self._said[index % self.places])
        earlier = np.maximum(index[..., None] - np.arange(stack)[::-1], said.start[..., None])
        frames = self._seen[earlier % self.places]  # (b, t, k, y, x, c)
        frames = np.moveaxis(frames, 2, 4)
        return RecalledClips(
            frames.reshape(*frames.shape[:4], -1), said.action, said.advice, said.planned,
            said.reward, said.first, said.terminated,
        )  # fmt: skip

    def __len__(self) -> int:
        """Rows that can be drawn from."""
        return min(self.length, self.capacity)


def first_rows(
    seed: int, step: int, length: int, capacity: int, *, batch: int, rows: int
) -> Int64[np.ndarray, " b"]:
    """Where the windows of update `step` begin, uniformly: a function of the arguments alone.

    Raises:
        ValueError: if there are fewer rows than a window has.
    """
    low, high = max(0, length - capacity), length - rows + 1
    if high <= low:
        raise ValueError(f"{length} rows are too few for windows of {rows}")
    random = np.random.Generator(np.random.Philox(seed_from(seed, step, length, Stream.REPLAY)))
    return random.integers(low, high, batch)


def _checksum(entry: np.void | np.ndarray, frame: np.ndarray) -> int:
    named = entry.tobytes()[:-4]
    return zlib.crc32(named, zlib.crc32(np.ascontiguousarray(frame).data))
