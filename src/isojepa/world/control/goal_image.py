"""`isojepa world plan --goal image.png`: act towards a picture from a file; how near did it get?

No state belongs to a picture, so that success is not counted: what is told is how far the embedding
of what was seen lies from that of the goal.
"""

import logging
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from rich.table import Table
from torch import Tensor

from isojepa.boundaries import shown, writing
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_header, read_square
from isojepa.pixels.unreadable import Unreadable
from isojepa.progress import bar, console
from isojepa.randomness import Stream, seed_from
from isojepa.runs.typed import write_result
from isojepa.world.control.config import Control, PlanConfig, open_control
from isojepa.world.control.evaluation import check_actions
from isojepa.world.control.frames import encode_frames
from isojepa.world.control.vector_env import Outcome, Stage, run_episodes
from isojepa.world.control.videos import Video, write_video
from isojepa.world.environments.environment import Environment
from isojepa.world.episodes.decoded import resize

log = logging.getLogger(__name__)
LOOKED_AT = 400  # training frames that say what is far and what is usual
STRANGE = 2.0  # times as far from its nearest frame as any frame is from its own


@dataclass(frozen=True, kw_only=True)
class Approach:
    """How one episode went, in distances of embeddings to the goal's."""

    start: float
    nearest: float
    nearest_step: int
    """Environment steps until then."""
    end: float
    learnt_steps: float | None = None
    """From the end to the goal, by the run's reachability."""


@dataclass(frozen=True, kw_only=True)
class GoalImageResult:
    """What goal.json holds."""

    goal: str
    environment: str
    budget: int
    usual: float
    """Median distance of two frames of the data set."""
    strangeness: float
    """Distance of the goal's pixels to the nearest of them, as a share of the largest such distance
    of theirs."""
    episodes: tuple[Approach, ...]


def read_goal(path: Path) -> UInt8[np.ndarray, "y x c"]:
    """A square picture from a file of any kind that images are read from, in three channels.

    Raises:
        UserError: for what is no picture, or not square.
    """
    try:
        square = read_square(path, read_header(path, 3).short_side, 3)
    except Unreadable as error:
        raise UserError(f"--goal {shown(path)}: {error}") from error
    if square.aspect != 1:
        side = square.info.short_side
        raise UserError(
            f"--goal {shown(path)}: {square.aspect:.3g} times as wide as high; models see squares: "
            f"crop it to {side} x {side} pixels, as the camera's frames were"
        )
    return square.pixels.transpose(1, 2, 0).copy()


def plan_to_image(config: PlanConfig) -> GoalImageResult:
    """Begin as many episodes as there are films, at least one, and act towards the picture in each.

    Prints a table, and writes RUN/goal.json and goal.gif.

    Raises:
        UserError: for a picture or a run that cannot be used.
    """
    assert config.goal is not None
    picture = read_goal(config.goal)
    out = config.out or config.run / "goal.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    control = open_control(config)
    model, n = control.model, max(1, config.films)
    goal = encode_frames(model, picture[None])
    usual, strangeness = compared(control, picture)
    if strangeness > STRANGE:
        log.warning(
            "--goal %s: unlike the data: %.1f times as far from the nearest of their frames as any "
            "of these is from its own",
            *(shown(config.goal), strangeness),
        )
    outcome = act_towards(control, picture, n)
    result = GoalImageResult(
        goal=str(config.goal.absolute()),
        environment=control.known.id,
        budget=config.budget,
        usual=usual,
        strangeness=strangeness,
        episodes=tuple(approach(control, np.stack(x), goal) for x in outcome.recorded),
    )
    print_goal_image(result)
    write_result(out, result)
    if config.films:
        goals = np.repeat(resize(picture, model.frame_size)[None], n, 0)
        write_video(out.with_suffix(".gif"), Video(outcome.recorded, goals, outcome.success))
    log.info("%s", out)
    return result


def compared(control: Control, picture: UInt8[np.ndarray, "y x c"]) -> tuple[float, float]:
    """How far the embeddings of two frames are apart; how far from the frames the picture is.

    The second in pixels: an encoder puts what it has never seen among what it has.
    """
    data, size = control.trajectories, control.model.frame_size
    random = np.random.default_rng(seed_from(control.config.seed, Stream.GRAPH))
    rows = random.permutation(int(data.lengths.sum()))[:LOOKED_AT]
    frames = data.rows(np.sort(rows).astype(np.int64))
    z = encode_frames(control.model, frames)
    small = np.stack([resize(x, min(size, 32)) for x in (*frames, picture)])
    pixels = torch.from_numpy(small).flatten(1).float()
    apart = torch.cdist(pixels[:-1], pixels[:-1]).fill_diagonal_(torch.inf)
    farthest = apart.amin(1).max().clamp(min=1e-6)
    return float(torch.pdist(z).median()), float(
        torch.cdist(pixels[-1:], pixels[:-1]).amin() / farthest
    )


def act_towards(control: Control, picture: UInt8[np.ndarray, "y x c"], n: int) -> Outcome:
    """Let the policy act in n episodes, begun by their seeds, for the whole budget."""
    config, known = control.config, control.known
    free = Environment(id=known.id, own_rule=False, states=known.states)  # nobody says: reached
    seeds = [seed_from(config.seed, i, Stream.EPISODE_RESET) for i in range(n)]
    stage = Stage(known.id, frame_size=control.model.frame_size, known=free, vary=config.vary)
    with bar(config.budget, "plan") as advance, closing(stage):
        env = stage.set_up([{}] * n, [{}] * n, seeds=seeds)
        check_actions(env, control)
        policy = control.policy(env.low, env.high, seed=seeds, discrete=env.acts.discrete)
        policy.begin(n, np.repeat(picture[None], n, 0))
        return run_episodes(env, policy, b=n, budget=config.budget, record=n, advance=advance)


def approach(control: Control, frames: UInt8[np.ndarray, "n y x c"], goal: Tensor) -> Approach:
    """What came of an episode's frames."""
    z = encode_frames(control.model, frames)
    far = torch.cdist(z, goal)[:, 0]
    steps = None
    if control.networks is not None:
        with torch.no_grad():
            steps = float(control.networks.reach(z[-1:], goal))
    return Approach(
        start=float(far[0]), nearest=float(far.min()), nearest_step=int(far.argmin()),
        end=float(far[-1]), learnt_steps=steps,
    )  # fmt: skip


def print_goal_image(result: GoalImageResult) -> None:
    """Print the result."""
    table = Table(title=f"{result.environment}: towards {Path(result.goal).name}")
    for name in ("", "at the start", "nearest", "at step", "at the end", "learnt steps left"):
        table.add_column(name, justify="right")
    for i, one in enumerate(result.episodes):
        left = "" if one.learnt_steps is None else f"{one.learnt_steps:.1f}"
        table.add_row(
            str(i), f"{one.start:.2f}", f"{one.nearest:.2f}", str(one.nearest_step),
            f"{one.end:.2f}", left,
        )  # fmt: skip
    console.print(table)
    console.print(
        f"distances of embeddings to the goal's; two frames of the data: {result.usual:.2f}",
        highlight=False,
    )
