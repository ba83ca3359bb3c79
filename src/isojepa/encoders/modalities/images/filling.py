"""Squares out of a store that is being filled: what is asked for is decoded first.

One thread decodes, with `each`'s helpers: the images that readers wait for, and between them all
others in their order. Where another process fills the store, its rows are used as they come, and
what is asked for sooner is decoded here and not kept. A square is the same bytes in all cases.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Condition, Thread
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int64, UInt8

from isojepa.caches.behind import Unsettled, begun
from isojepa.caches.folder import Uncacheable, locked, touch
from isojepa.encoders.modalities.images.cache import POLL, Decode, Wanted, begin, best, home
from isojepa.encoders.modalities.images.cached import Cached
from isojepa.encoders.modalities.images.from_cache import marks_of
from isojepa.encoders.modalities.images.headers import known_without
from isojepa.encoders.modalities.images.store import Store
from isojepa.encoders.modalities.images.survey import Survey
from isojepa.encoders.sources.fingerprints import UNREADABLE
from isojepa.encoders.sources.folder import Listing
from isojepa.encoders.sources.notes import warn_once
from isojepa.pixels.square import Square
from isojepa.pixels.unreadable import Unreadable

log = logging.getLogger(__name__)
DEEP = "an image has integers of more than 8 bits"
FEW = 1024  # images of which a run waits until all are decoded
BLOCK = 128  # squares between two times that what is asked for is looked at


class Begun(NamedTuple):
    """Images whose squares are on their way."""

    filling: "Filling"
    listing: Listing
    """Those that count as readable."""
    skipped: list[tuple[str, str]]
    """(name, reason) of the others."""


def fill_behind(
    folder: Path,
    wanted: Wanted,
    listing: Listing,
    decoder: Callable[[Listing], Decode],
    again: Callable[[Sequence[int]], Iterator[Square]],
    bits: int | None,
) -> Begun | None:
    """Begin to fill a store with a listing's images; None where it lacks few of them.

    All count as readable, until one is found that is not, but those of which it is known, or seen
    from their header, that they are not: these are tried first.

    Args:
        decoder: listing -> what decodes its images.
        again: decodes what turns out to be damaged in the store.
        bits: depth of integers of more than 8 bits that was settled before; None if there are none.
    """
    found = best(folder, wanted)[1]
    if int(found.missing.sum()) < FEW:
        return None
    unsure = found.refused | (wanted.marks == UNREADABLE) | known_without(listing)
    places = np.flatnonzero(unsure).tolist()
    tried = zip(places, decoder(listing)(places, wanted.bits))
    reasons = {i: str(square) for i, square in tried if isinstance(square, Unreadable)}
    own = listing.subset([i for i in range(len(listing.names)) if i not in reasons])

    def say(store: Store, rows: Int64[np.ndarray, " n"]) -> None:
        survey = Survey(wanted.side, wanted.channels)
        for i, square in enumerate(store.squares(rows)):
            survey.add(i, own.names[i], square)
        for note in survey.notes(bits):
            warn_once(own.root, note)

    of_own = wanted._replace(marks=marks_of(own))
    filling = Filling(folder, of_own, decoder(own), again, any_depth=bits is not None, done=say)
    begun(filling)
    left, n = int(found.missing.sum()) - len(reasons), len(own.names)
    log.info(
        "%s of %s images are not decoded yet: training begins meanwhile", f"{left:,}", f"{n:,}"
    )
    return Begun(filling, own, [(listing.names[i], why) for i, why in reasons.items()])


class Filling:
    """The squares of a listing, every one of which is taken to be readable and of 8 bits; where
    that turns out wrong all reading ends in `Unsettled`, because other images would be there."""

    def __init__(
        self,
        folder: Path,
        wanted: Wanted,
        decode: Decode,
        again: Callable[[Sequence[int]], Iterator[Square]],
        *,
        any_depth: bool,
        done: Callable[[Store, Int64[np.ndarray, " n"]], None],
    ) -> None:
        """Begin to fill.

        Args:
            folder: of caches.
            again: decodes what turns out to be damaged in the store.
            any_depth: whether integers of more than 8 bits change nothing.
            done: told the full store and the images' rows, once, by whoever waits for that.
        """
        n = len(wanted.marks)
        self.aspects: Float[np.ndarray, " n"] = np.ones(n, np.float32)
        """Width over height of each; of no meaning before it was read."""
        self._folder, self._wanted, self._decode = folder, wanted, decode
        self._again, self._any_depth, self._done = again, any_depth, done
        self._rows = np.full(n, -1, np.int64)
        self._cached: Cached | None = None
        self._store: Store | None = None
        self._asked: set[int] = set()
        self._handed: dict[int, UInt8[np.ndarray, "c s s"]] = {}
        self._error: BaseException | None = None
        self._full = self._stopped = self._held = False
        self._changed = Condition()
        self._began = time.monotonic()
        self._first = 0  # rows that were there at the beginning
        self._thread = Thread(target=self._work, name="filling the cache", daemon=True)
        self._thread.start()

    def read(self, positions: Sequence[int]) -> UInt8[np.ndarray, "b c s s"]:
        """The squares at the given positions, as soon as they are there.

        Raises:
            Unsettled: if an image turned out to be other than it was taken for.
        """
        with self._changed:
            while True:
                self._check()
                lacks = {i for i in positions if self._rows[i] < 0 and i not in self._handed}
                if not lacks:
                    break
                self._asked |= lacks
                self._changed.notify_all()
                self._changed.wait()
            handed = {i: self._handed.pop(i) for i in set(positions) if self._rows[i] < 0}
            cached = self._cached
        kept = [k for k, i in enumerate(positions) if i not in handed]
        pixels = np.empty((len(positions), *self._shape), np.uint8)
        if kept:
            assert cached is not None
            pixels[kept] = cached.read([positions[k] for k in kept])
        for k, i in enumerate(positions):
            if i in handed:
                pixels[k] = handed[i]
        return pixels

    def wait(self) -> None:
        """Return when all squares are in the store.

        Raises:
            Unsettled: as `read` does.
        """
        with self._changed:
            while not self._full:
                self._check()
                self._changed.wait()
            self._check()
            store, rows = self._store, self._rows
        assert store is not None
        self._done(store, rows)

    def seconds_left(self) -> float:
        """Until all are decoded, at the rate so far."""
        with self._changed:
            have = int((self._rows >= 0).sum())
        made, passed = have - self._first, time.monotonic() - self._began
        return (len(self._rows) - have) * passed / made if made > 0 else 0.0

    def hold(self) -> None:
        self._set_held(True)

    def release(self) -> None:
        self._set_held(False)

    def stop(self) -> None:
        """End the thread; what was written stays."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def _shape(self) -> tuple[int, int, int]:
        return self._wanted.channels, self._wanted.side, self._wanted.side

    def _set_held(self, held: bool) -> None:
        with self._changed:
            self._held = held
            self._changed.notify_all()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._stopped:
            raise Unsettled("the cache is no longer filled")

    def _work(self) -> None:
        """What the thread does; what goes wrong is the readers' to know."""
        try:
            self._fill()
        except Uncacheable as refusal:
            self._fail(Unsettled(str(refusal).rstrip(".")))
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _fill(self) -> None:
        wanted = self._wanted
        while not self._stopped:
            store, found = best(self._folder, wanted)
            if found.refused.any():
                raise Unsettled("an image that another process decoded cannot be read")
            if store is not None:
                self._publish(store, np.flatnonzero(found.rows >= 0), found.rows)
                if not found.missing.any():
                    break
            place = home(self._folder, wanted, store)
            with locked(place) as held:
                if held:
                    store = begin(self._folder, place, wanted)
                    rows = store.find(wanted.marks, wanted.bits).rows
                    self._publish(store, np.flatnonzero(rows >= 0), rows)
                    self._fill_store(store)
                    continue
            self._hand_over()
        with self._changed:
            self._full = not self._stopped
            self._changed.notify_all()

    def _fill_store(self, store: Store) -> None:
        """Decode what the store lacks into it, each content once; whose lock is held."""
        missing = np.flatnonzero(store.find(self._wanted.marks, self._wanted.bits).missing)
        marks, first, group = np.unique(
            self._wanted.marks[missing], return_index=True, return_inverse=True
        )
        rows = store.grow(len(marks))
        same = np.split(missing[np.argsort(group, kind="stable")], np.cumsum(np.bincount(group)))
        of = dict(zip(missing.tolist(), group.tolist()))
        left = dict.fromkeys(np.argsort(first).tolist())  # groups, in the order of the listing
        while left and (chosen := self._next(left, of)):
            for k in chosen:
                del left[k]
            places = [int(same[k][0]) for k in chosen]
            squares = self._settled(places)
            taken, rows = rows[: len(chosen)], rows[len(chosen) :]
            store.write(taken, [int(marks[k]) for k in chosen], squares, self._wanted.bits)
            own = np.concatenate([same[k] for k in chosen])
            found = np.full(len(self._rows), -1, np.int64)
            found[own] = np.repeat(taken, [len(same[k]) for k in chosen])
            self._publish(store, own, found)
        touch(store.folder)

    def _next(self, left: dict[int, None], of: dict[int, int]) -> list[int]:
        """The groups to decode now: those asked for, else the first that are left; none to end."""
        with self._changed:
            while self._held and not self._asked and not self._stopped:
                self._changed.wait()
            asked = {of[i]: None for i in self._asked if i in of}
            self._asked.clear()
            if self._stopped:
                return []
        urgent = [k for k in asked if k in left]
        return urgent[:BLOCK] or [
            k for k, _ in zip(left, range(BLOCK))
        ]  # who lacks more asks again

    def _settled(self, places: list[int]) -> list[Square]:
        """The squares of images, all of which have to be as they were taken for."""
        squares = []
        for square in self._decode(places, self._wanted.bits):
            if isinstance(square, Unreadable):
                raise Unsettled(f"an image cannot be read: {square}")
            if square.info.peak is not None and not self._any_depth:
                raise Unsettled(DEEP)
            squares.append(square)
        return squares

    def _hand_over(self) -> None:
        """Decode what is asked for while another process fills the store, or rest a moment."""
        with self._changed:
            if not self._asked:
                self._changed.wait(POLL)
            places = sorted(i for i in self._asked if self._rows[i] < 0)
            self._asked.clear()
        if not places:
            return
        squares = self._settled(places)
        with self._changed:
            for i, square in zip(places, squares):
                self._handed[i], self.aspects[i] = square.pixels, square.aspect
            self._changed.notify_all()

    def _publish(self, store: Store, places: np.ndarray, rows: Int64[np.ndarray, " n"]) -> None:
        """Let readers know where squares stand: their pixels and records are on the disk."""
        if not self._any_depth and store.deep(rows[places]).any():
            raise Unsettled(DEEP)
        with self._changed:
            if store is not self._store:
                self._first = self._first if self._store else len(places)
                self._rows = np.full(len(self._rows), -1, np.int64)  # who reads keeps the others
                self._store, self._cached = store, Cached(store, self._rows, self._again)
            self._rows[places] = rows[places]
            self.aspects[places] = store.aspects(rows[places])
            self._changed.notify_all()
