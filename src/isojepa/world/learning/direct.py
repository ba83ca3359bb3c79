"""`isojepa world direct`: a policy without search, and a reachability, on a run's embeddings.

Any data will do, expert or not. The reachability learns from single steps and random pairs. The
policy gets goals from later frames of the same episode (hindsight), for which it also imitates what
was done, and from any other frame; for both it lowers the reachability of what the frozen world
model predicts of its block.
"""

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from safetensors.torch import save
from torch import Tensor, nn

from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.randomness import Stream, seed_from
from isojepa.runs.checkpoints import contiguous
from isojepa.runs.config import RunConfig
from isojepa.runs.record import RunRecord
from isojepa.runs.resume import resumed
from isojepa.runs.settings import Said, as_json, as_paths, remembers, require, require_bounds
from isojepa.runs.typed import to_json
from isojepa.training.launch import open_run, start_fabric
from isojepa.training.optimise import cosine_schedule, optimise, parameter_groups
from isojepa.training.ranks import on_first, together
from isojepa.training.recorder import Recorder, due
from isojepa.training.watched import watched
from isojepa.world.learning.goal_networks import (
    FOLDER,
    WEIGHTS,
    GoalNetworks,
    GoalSizes,
    weights_digest,
)
from isojepa.world.learning.trained import Trained, open_trained
from isojepa.world.learning.windows import describe_episodes
from isojepa.world.model.latent import LatentModel

log = logging.getLogger(__name__)
EMBEDDED_AT_ONCE = 256  # frames
FURTHEST = 100.0  # steps: random pairs are pushed apart up to about here
SLACK = 0.05  # by which a step may be longer than one, root mean square
IMITATION = 0.1  # weight of what was done


@remembers
@dataclass(frozen=True, kw_only=True)
class DirectConfig(RunConfig):
    """Train a policy that acts without search, and a reachability, on a run of world train."""

    run: Path
    """Run folder of `isojepa world train`, whose model stays as it is."""
    data: Path = Path()
    """Data set to learn from. Default: the run's own, its training episodes."""
    out: Path = Path()
    """Folder to write to. Default: RUN/direct, where `isojepa world plan` looks."""
    steps: int = 3000
    """Updates to make."""
    batch_size: int = 256
    """Blocks per update, over all devices."""
    lr: float = 1e-3
    """Peak learning rate, after a warm-up of 1 % and before a cosine."""

    def __post_init__(self, said: Said) -> None:
        as_paths(self, "run")
        if self.out == Path():
            object.__setattr__(self, "out", self.run / FOLDER)
        super().__post_init__(said)
        require(self.lr > 0, "--lr must be positive")
        require_bounds(self, ("steps", "batch_size"))

    def rate(self, step: int) -> float:
        """The learning rate of update `step`, counted from 0."""
        return cosine_schedule(
            step, peak=self.lr, warmup=max(1, self.steps // 100), steps=self.steps
        )


class Moves(NamedTuple):
    """A batch: n blocks of actions, from where they began and to where they might have led."""

    z: Float[Tensor, "n d"]
    done: Float[Tensor, "n a"]
    """The block that was done, normalised."""
    later: Float[Tensor, "n d"]
    """A later frame of the same episode, and how many steps later it is."""
    steps: Float[Tensor, " n"]
    soon: Float[Tensor, "n d"]
    """One at most a block later, likewise."""
    soon_steps: Float[Tensor, " n"]
    other: Float[Tensor, "n d"]
    """Any frame."""


class DirectTerms(NamedTuple):
    """Of an update."""

    loss: Float[Tensor, ""]
    progress: Float[Tensor, ""]
    """Steps by which a block brings the goal nearer, by the model and the reachability."""
    imitation: Float[Tensor, ""]
    """Mean squared error per coordinate of the normalised actions, towards later frames."""
    longest: Float[Tensor, ""]
    """Root mean square by which steps are longer than one."""
    apart: Float[Tensor, ""]
    """Mean steps between random frames."""


@dataclass(frozen=True)
class Played:
    """The training episodes in one row after the other, embedded."""

    z: Float[Tensor, "n d"]
    actions: Float[Tensor, "n a"]
    """Normalised; the last of each episode is 0."""
    last: Int64[np.ndarray, " n"]
    """Row of the last frame of each row's episode."""
    frame_skip: int

    def moves(self, seed: int, step: int, n: int) -> Moves:
        """The batch of an update: a function of (seed, step)."""
        random, skip = np.random.default_rng(seed_from(seed, step, Stream.DIRECT)), self.frame_skip
        begins = np.flatnonzero(np.arange(len(self.last)) + skip <= self.last)
        row = random.choice(begins, n)
        left = self.last[row] - row
        steps = 1 + (random.uniform(size=n) * left).astype(np.int64)
        soon = np.minimum(random.integers(1, skip + 1, n), left)
        other = random.integers(len(self.z), size=n)
        block = self.actions[torch.from_numpy(row[:, None] + np.arange(skip))].flatten(1)
        return Moves(
            self.z[row], block, self.z[row + steps], torch.from_numpy(steps).float(),
            self.z[row + soon], torch.from_numpy(soon).float(), self.z[other],
        )  # fmt: skip


def train_direct(config: DirectConfig) -> Path:
    """Train and write the folder; returns its path.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once what is trained so far is saved.
    """
    config, stored = resumed(config)
    fabric = start_fabric(config.device, config.devices, config.precision)
    data = None if config.data == Path() else config.data
    trained = open_trained(config.run, data, device=config.device)
    if trained.model.action_dim == 0:
        raise UserError(f"--run {config.run}: the model knows no actions, so nothing can act")
    trackers = open_run(fabric, config, stored)
    played = embed_episodes(trained)
    sizes = GoalSizes(
        embedding_dim=trained.model.embedding_dim,
        action_dim=trained.model.action_dim,
        frame_skip=trained.model.frame_skip,
        world=weights_digest(config.run),
    )
    networks = together(lambda: build_networks(sizes, played, config.seed))
    optimiser = torch.optim.AdamW(parameter_groups(networks, 1e-4), lr=config.lr)
    world = trained.model.for_planning().to(fabric.device).requires_grad_(False)
    model, optimiser = fabric.setup(Learner(networks, world), optimiser)
    recorder = Recorder(config, networks, {"optimiser": optimiser}, fabric, trackers, config.rate)
    described = to_json(describe_episodes(trained.trajectories)) if stored is None else stored.data
    record = RunRecord(config=as_json(config), data=described, policy=asdict(sizes))
    start = recorder.begin(record, stored)
    share = config.batch_size // fabric.world_size

    def batches() -> Iterator[Moves]:
        for step in range(start, config.steps):
            whole = played.moves(config.seed, step, share * fabric.world_size)
            own = slice(share * fabric.global_rank, share * (fabric.global_rank + 1))
            yield Moves(*(x[own].to(fabric.device) for x in whole))

    updates = optimise(
        fabric, model, lambda moves, _: model(moves), optimiser, batches(),
        schedule=config.rate, seed=config.seed, start=start,
    )  # fmt: skip
    per_epoch = max(1, len(played.z) // config.batch_size)
    save_every = config.save_every or min(1000, max(100, config.steps // 10))
    with watched(updates, recorder, steps=config.steps, title="direct policy") as each:
        for update in each:
            step = update.step
            if step == 1 or due(step, config.log_every, config.steps):
                line = recorder.line(update, "blocks", config.batch_size, per_epoch)
                words = "progress {progress:.2f} of {skip} steps  apart {apart:.1f}"
                recorder.log(line, words.format(**line, skip=sizes.frame_skip))
            if due(step, save_every, config.steps):
                recorder.save(step)
    weights = contiguous(networks.state_dict())
    on_first(lambda: write_atomically(config.out / WEIGHTS, save(weights)))
    recorder.finish()
    log.info("direct policy in %s: isojepa world plan --run %s", config.out, config.run)
    return config.out


class Learner(nn.Module):
    """The networks beside the frozen model, through which the policy's gradient comes."""

    def __init__(self, networks: GoalNetworks, world: LatentModel) -> None:
        super().__init__()
        self.networks = networks
        self._world = [world]  # not a part: neither trained nor saved

    def forward(self, moves: Moves) -> DirectTerms:
        """The loss of a batch and its terms."""
        reach = self.networks.reach
        soon, apart = reach(moves.z, moves.soon), reach(moves.other.roll(1, 0), moves.other)
        too_long = ((soon - moves.soon_steps).relu() / moves.soon_steps).square().mean()
        push = F.softplus(FURTHEST - apart, beta=5 / FURTHEST).mean()
        # The multiplier rises where steps are too long: gradient ascent on its own term
        weight = 100 * F.softplus(10 * self.networks.multiplier)
        held = weight.detach() * too_long - weight * (too_long.detach() - SLACK**2) / 10
        progress, imitation = self._policy(moves)
        loss = push / 10 + held - progress / moves.done.shape[-1] + IMITATION * imitation
        return DirectTerms(loss, progress, imitation, too_long.sqrt(), apart.mean())

    def _policy(self, moves: Moves) -> tuple[Tensor, Tensor]:
        fixed = {name: x.detach() for name, x in self.networks.reach.named_parameters()}

        def steps_left(z: Tensor, goal: Tensor) -> Tensor:
            return torch.func.functional_call(self.networks.reach, fixed, (z, goal))

        half = len(moves.z) // 2
        goal = torch.cat([moves.later[:half], moves.other[half:]])
        left = steps_left(moves.z, goal)
        block = self.networks.direct(moves.z, goal, left)
        past = block.new_zeros(len(block), 0, block.shape[-1])
        ahead = self._world[0].rollout(moves.z[:, None], past, block[:, None, None])[:, 0, 0]
        progress = (left - steps_left(ahead, goal)).mean()
        imitated = self.networks.direct(moves.z, moves.later, moves.steps)
        skip = self.networks.sizes.frame_skip
        before = torch.arange(skip, device=block.device) < moves.steps[:, None]
        counts = before.repeat_interleave(block.shape[-1] // skip, 1).float()
        error = ((imitated - moves.done).square() * counts).sum() / counts.sum()
        return progress, error


def build_networks(sizes: GoalSizes, played: Played, seed: int) -> GoalNetworks:
    """The networks with their initial weights; blocks stay between the data's actions."""
    torch.manual_seed(seed_from(seed, Stream.WEIGHTS))
    networks = GoalNetworks(sizes)
    for name, bound in (("low", played.actions.amin(0)), ("high", played.actions.amax(0))):
        getattr(networks.direct, name).copy_(bound.repeat(sizes.frame_skip))
    return networks


@torch.no_grad()
def embed_episodes(trained: Trained) -> Played:
    """The training episodes of a run, or all of a data set that holds none of them.

    Raises:
        UserError: if no episode is longer than a block.
    """
    data, model = trained.trajectories, trained.model.for_planning()
    episodes = trained.split.train if trained.split.own else np.arange(len(data))
    lengths = data.lengths[episodes]
    if not len(lengths) or lengths.max() <= model.frame_skip:
        raise UserError(f"{data.path}: no episode is longer than a block of {model.frame_skip}")
    z, actions = [], []
    for episode, length in zip(episodes.tolist(), lengths.tolist()):
        for first in range(0, length, EMBEDDED_AT_ONCE):
            frames = data.frames(episode, first, min(first + EMBEDDED_AT_ONCE, length))
            x = torch.from_numpy(frames).permute(0, 3, 1, 2)[:, None].to(model.device)
            z.append(model.encode(x)[:, 0].float().cpu())
        own = model.scale.normalise(torch.from_numpy(data.actions(episode, 0, length)))
        actions.append(torch.cat([own[:-1], torch.zeros_like(own[-1:])]))
    last = np.repeat(np.cumsum(lengths) - 1, lengths)
    return Played(torch.cat(z), torch.cat(actions), last, model.frame_skip)
