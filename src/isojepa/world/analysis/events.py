"""Impossible events: held-out clips in which something happens that the world never does."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from isojepa.errors import UserError
from isojepa.randomness import Stream, seed_from
from isojepa.world.analysis.study import Study, rows_at
from isojepa.world.episodes.clips import clip_index
from isojepa.world.episodes.trajectories import Clips

BEFORE = 2  # frames before the event that are predicted from a full history
AFTER = 4  # frames shown after the event, where the episodes are long enough
DONORS = 4  # moments to choose the place of a teleport from
EVENTS = {
    "unchanged": "the control",
    "teleport": "what moves is suddenly elsewhere",
    "colour": "red, green and blue change places",
}


class Window(NamedTuple):
    """Where in its clips the event lies; times in frames, which are blocks."""

    frames: int
    event: int
    """The first frame that is not as it should be."""
    first: int
    """The first frame whose prediction sees a full history."""


def teleported(clips: Clips, donors: Clips, event: int) -> Clips:
    """From the event on, the frames and actions of the donors: only the place jumps.

    The block of actions that leads to the event is the clip's own, so nothing foretells it.
    """
    frames, actions = clips.frames.clone(), clips.actions.clone()
    frames[:, event:], actions[:, event:] = donors.frames[:, event:], donors.actions[:, event:]
    return Clips(frames, actions, clips.position)


def recoloured(clips: Clips, event: int) -> Clips:
    """From the event on, red is shown as green, green as blue and blue as red."""
    frames = clips.frames.clone()
    frames[:, event:] = clips.frames[:, event:].roll(1, dims=2)
    return clips._replace(frames=frames)


def choose_clips(
    study: Study, *, most: int, seed: int
) -> tuple[Window, Int64[np.ndarray, "n two"]]:
    """Clips of held-out episodes: as many of each, and as long after the event, as can be had."""
    skip, history = study.model.frame_skip, study.model.history
    event = history + BEFORE
    for after in range(AFTER, -1, -1):
        window = Window(event + 1 + after, event, history)
        span = (window.frames - 1) * skip + 1
        long = study.held_out[study.trajectories.lengths[study.held_out] >= span]
        if len(long) >= max(4, len(study.held_out) // 2) or (after == 0 and len(long) >= 4):
            break
    else:
        raise UserError(
            f"{study.data}: {len(long)} of {len(study.held_out)} held-out episodes have the "
            f"{span} steps of a clip, and at least 4 are needed; collect more or longer ones"
        )
    index = clip_index(study.trajectories, long, frames=window.frames, frame_skip=skip)
    each = max(1, most // len(long))
    rng = np.random.default_rng(seed_from(seed, Stream.SURPRISE_CLIPS))
    chosen = []
    for episode in rng.permutation(long)[:most]:
        own = index[index[:, 0] == episode]
        chosen.append(own[np.sort(rng.permutation(len(own))[:each])])
    return window, np.concatenate(chosen)


def split_by_episode(
    positions: Int64[np.ndarray, "n two"],
) -> tuple[Int64[np.ndarray, "m two"], Int64[np.ndarray, "k two"]]:
    """Split clips by episode: some to learn what is usual, the others to test."""
    episodes = list(dict.fromkeys(positions[:, 0].tolist()))
    usual = np.isin(positions[:, 0], episodes[: len(episodes) // 2])
    return positions[usual], positions[~usual]


def clip_reader(study: Study, window: Window) -> Callable[[Int64[np.ndarray, "n two"]], Clips]:
    """Positions to clips, as the model reads them."""
    scale = study.model.scale

    def read(positions: Int64[np.ndarray, "n two"]) -> Clips:
        return study.trajectories.clips(
            positions, frames=window.frames, frame_skip=study.model.frame_skip, scale=scale
        )

    return read


def choose_donors(
    study: Study,
    positions: Int64[np.ndarray, "n two"],
    tested: Int64[np.ndarray, "m two"],
    window: Window,
    *,
    seed: int,
) -> tuple[Int64[np.ndarray, "m two"], Float64[np.ndarray, " m"]]:
    """For each clip another one that is elsewhere at the event, and how far away that is.

    The farthest of a few random ones: by the environment's distance of states where it is known,
    else by how much the frames differ.
    """
    rng = np.random.default_rng(seed_from(seed, Stream.SURPRISE_DONORS))
    later = np.array([0, window.event * study.model.frame_skip])
    drawn = rng.integers(len(positions), size=(len(tested), DONORS))
    apart = np.stack(
        [moments_apart(study, tested + later, positions[column] + later) for column in drawn.T], 1
    )
    best = apart.argmax(1)
    return positions[drawn[np.arange(len(tested)), best]], apart.max(1)


def unit_of_distance(study: Study) -> str:
    """In which `moments_apart` measures."""
    return study.known.unit if study.known and study.distance else "grey levels"


def moments_apart(
    study: Study, a: Int64[np.ndarray, "n two"], b: Int64[np.ndarray, "n two"]
) -> Float64[np.ndarray, " n"]:
    """Distance of the states at two lists of (episode, step), or of their frames."""
    rows = [rows_at(study.trajectories, one) for one in (a, b)]
    if study.distance:
        return np.asarray(study.distance(*map(study.states, rows)), np.float64)
    frames = [study.trajectories.rows(part).astype(np.float32) for part in rows]
    return np.abs(frames[0] - frames[1]).mean((1, 2, 3)).astype(np.float64)
