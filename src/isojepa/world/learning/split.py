"""Which episodes a model was trained on and which were held out: stored, and found again.

A split recomputed from the number of episodes and a seed is another split as soon as the data set
grows, moves or is written in another order, and would test on what was trained on. A run stores
the content of both sides instead, a fingerprint per episode in episodes.json, and every later use
of the run, resuming included, finds its episodes by it, wherever they now are.
"""

import hashlib
import json
import logging
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.runs.folder import write_json
from isojepa.runs.record import RunRecord
from isojepa.world.episodes.clips import split_episodes
from isojepa.world.episodes.trajectories import Trajectories

log = logging.getLogger(__name__)
RECORD = "episodes.json"
NEW = "give --new-episodes to test on them too"


class Recorded(NamedTuple):
    """The fingerprints of a run's episodes, in the order in which it used them."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]


class Split(NamedTuple):
    """The episodes of a data set by what a run has done with them, in the run's order."""

    train: Int64[np.ndarray, " m"]
    held_out: Int64[np.ndarray, " k"]
    """Never trained on: copies of training episodes are not among them."""
    new: Int64[np.ndarray, " n"]
    """Neither: unseen too."""
    missing: tuple[int, int] = (0, 0)
    """Episodes trained on, and held out, that the data set does not hold."""

    @property
    def own(self) -> bool:
        """Whether any of the run's episodes is here."""
        return len(self.train) + len(self.held_out) > 0

    def unseen(self, *, new: bool) -> Int64[np.ndarray, " k"]:
        """Episodes to test on: those held out, and the new ones if asked or if nothing else is."""
        if new or not len(self.held_out):
            return np.concatenate([self.held_out, self.new])
        return self.held_out


def fingerprints(trajectories: Trajectories) -> tuple[str, ...]:
    """Of the content of every episode, in the order of the data set."""
    return tuple(str(trajectories.episode_fingerprint(e)) for e in range(len(trajectories)))


def divide(prints: tuple[str, ...], *, held_out: float, seed: int) -> tuple[Recorded, Split]:
    """Split a data set for a run that begins; held-out copies of training episodes are named."""
    sides = split_episodes(len(prints), held_out=held_out, seed=seed)
    recorded = Recorded(*(tuple(prints[e] for e in side) for side in sides))
    split = find(recorded, prints)
    copies = len(recorded.held_out) - len(split.held_out)
    if copies:
        log.warning(
            "%d of the %d episodes held out are copies of training episodes: they are not tested "
            "on",
            copies,
            len(recorded.held_out),
        )
    return recorded, split


def find(recorded: Recorded, prints: tuple[str, ...]) -> Split:
    """The run's episodes among those of a data set, by their content.

    Further copies of what was trained on or held out belong to no side.
    """
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, fingerprint in enumerate(prints):
        places[fingerprint].append(place)
    trained, held = set(recorded.train), set(recorded.held_out)
    train = _take(recorded.train, places)
    kept = tuple(x for x in recorded.held_out if x not in trained)
    held_out = _take(kept, places)
    new = [place for place, x in enumerate(prints) if x not in trained and x not in held]
    missing = (len(recorded.train) - len(train), len(kept) - len(held_out))
    sides = [np.array(side, np.int64) for side in (train, held_out, new)]
    return Split(sides[0], sides[1], sides[2], missing)


def _take(wanted: tuple[str, ...], places: dict[str, list[int]]) -> list[int]:
    """A place for each fingerprint that has one left, in order, the earliest first."""
    left = {x: iter(places.get(x, ())) for x in set(wanted)}
    found = (next(left[x], None) for x in wanted)
    return [place for place in found if place is not None]


def write_split(run: Path, recorded: Recorded) -> None:
    """Write RUN/episodes.json."""
    write_json(run / RECORD, {name: list(prints) for name, prints in recorded._asdict().items()})


def read_split(run: Path) -> Recorded | None:
    """What RUN/episodes.json holds; None for runs made before there was one.

    Raises:
        UserError: if it is damaged.
    """
    path = run / RECORD
    if not path.is_file():
        return None
    with reading(path, "the record of a run's episodes"):
        content = json.loads(path.read_text(encoding="utf-8"))
        return Recorded(*(tuple(map(str, content[name])) for name in Recorded._fields))


def known_split(
    run: Path, record: RunRecord, trajectories: Trajectories, *, same_place: bool
) -> Split:
    """What a run has done with the episodes of a data set, its own or another.

    Args:
        record: the run's config.json.
        same_place: whether it is where the run's own data were.

    Raises:
        UserError: for a run without a record whose data have changed: nothing then tells what it
            was trained on.
    """
    recorded = read_split(run)
    if recorded is not None:
        return find(recorded, fingerprints(trajectories))
    n, settings, then = len(trajectories), record.config, record.data
    count = int(then.get("episodes", n))
    lengths = lengths_fingerprint(trajectories.lengths[:count])
    if count <= n and then.get("fingerprint", lengths if same_place else None) == lengths:
        sides = split_episodes(
            count, held_out=float(settings.get("held_out", 0.0)), seed=int(settings.get("seed", 0))
        )
        return Split(*sides, np.arange(count, n))
    if same_place:
        raise UserError(
            f"{shown(trajectories.path)}: {shown(run)} was trained on {count} episodes of it, "
            f"which has {n} others now, and does not record which ones ({RECORD} is missing: an "
            "older version made it); restore them, give --data with other episodes, or train anew"
        )
    log.warning(
        "%s does not record its episodes (an older version made it): those of %s are taken for "
        "unseen",
        shown(run),
        shown(trajectories.path),
    )
    nothing = np.zeros(0, np.int64)
    return Split(nothing, nothing, np.arange(n))


def report_split(split: Split, run: Path, data: Path, *, new: bool) -> None:
    """Tell what of a data set is new to a run, what is missing, and what is tested on."""
    unseen, count = split.unseen(new=new), len(split.new)
    if not split.own:
        log.warning(
            "%s: none of its %d episodes is of those that %s was trained with: all are unseen",
            shown(data),
            count,
            shown(run),
        )
        return
    if count:
        used = "tested on too" if len(unseen) > len(split.held_out) else f"left out; {NEW}"
        log.warning("%s: %d episodes are new: unseen in training, %s", shown(data), count, used)
    for missing, found, what in zip(
        split.missing, (split.train, split.held_out), ("trained on", "held out")
    ):
        if missing:
            whole = missing + len(found)
            log.warning("%s: %d of %d episodes %s are missing", shown(data), missing, whole, what)


def check_whole(split: Split, run: Path, data: Path) -> None:
    """Raise `UserError` if training would go on without some of its episodes."""
    missing = sum(split.missing)
    if missing:
        whole = missing + len(split.train) + len(split.held_out)
        raise UserError(
            f"--resume {shown(run)}: {missing} of its {whole} episodes are missing from "
            f"{shown(data)}; restore them or start a new run"
        )


def lengths_fingerprint(lengths: Int64[np.ndarray, " e"]) -> str:
    """Of the episodes' lengths alone: all that runs without a record know of their data."""
    return hashlib.sha256(np.asarray(lengths, np.int64).tobytes()).hexdigest()[:16]
