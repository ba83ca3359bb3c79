"""Behaviour cloning by the same loop: from where it is and where it shall be to the actions."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.objective.lewm import mean_squared_error
from isojepa.randomness import Stream, seed_from
from isojepa.runs.checkpoints import sealed, unsealed
from isojepa.runs.record import read_run
from isojepa.training.optimise import adamw, optimise
from isojepa.training.ranks import on_first, together
from isojepa.training.recorder import due
from isojepa.training.watched import watched
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import OpenTraining, open_training, record_training
from isojepa.world.learning.windows import training_clips
from isojepa.world.model.encoders import FrameEncoder, normalise_pixels
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.world_model import projection

GOAL_BLOCKS = 5  # a cloned policy's goals lie 1 to 5 blocks ahead in the same episode
POLICY = "policy.safetensors"


class CloningTerms(NamedTuple):
    """Of an update of a cloned policy."""

    loss: Float[Tensor, ""]
    """Mean squared error per coordinate of the normalised actions."""


class GoalPolicy(nn.Module):
    """Behaviour cloning: the frame now and the goal's frame in, the block of actions between out.

    Args:
        spec: the world model's, of which it takes the encoder.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, spec: WorldModelSpec) -> None:
        super().__init__()
        self.spec = spec
        d = spec.embedding_dim
        self.encoder = FrameEncoder(spec.encoder, spec.encoder_options, spec.frame_size)
        self.projector = projection(self.encoder.features, spec.projector_hidden, d)
        self.head = nn.Sequential(
            nn.Linear(2 * d, 256), nn.GELU(), nn.Linear(256, 256), nn.GELU(),
            nn.Linear(256, spec.action_dim),
        )  # fmt: skip
        self.register_buffer("mean", torch.tensor(spec.pixel_mean), persistent=False)
        self.register_buffer("std", torch.tensor(spec.pixel_std), persistent=False)

    def forward(
        self, now: Shaped[Tensor, "b c y x"], goal: Shaped[Tensor, "b c y x"]
    ) -> Float[Tensor, "b a"]:
        """The next block of actions, normalised; frames are uint8 or floats in [0, 1]."""
        both = normalise_pixels(torch.cat([now, goal]), self.mean, self.std)
        return self.head(torch.cat(self.projector(self.encoder(both)).chunk(2), -1))


def train_policy(config: WorldTrainConfig) -> GoalPolicy:
    """Train a policy by behaviour cloning; its goals are later frames of the same clip.

    To resume a finished one is to load it.

    Raises:
        UserError: if the data have no actions, or for anything else the user can put right.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    if config.resume and (config.out / POLICY).is_file():
        return load_cloned_policy(config.out)
    begun = open_training(replace(config, history=1, rollout_steps=GOAL_BLOCKS, frozen=None))
    config, plan, fabric = begun.config, begun.plan, begun.fabric
    policy = together(lambda: _build_policy(begun))
    optimiser = adamw(
        policy, lr=plan.lr, weight_decay=plan.weight_decay, precision=config.precision
    )
    model, optimiser = fabric.setup(policy, optimiser)
    recorder, start = record_training(
        begun, policy, {"optimiser": optimiser}, policy=begun.spec.as_json()
    )
    updates = optimise(
        fabric,
        model,
        _build_compute(begun, model),
        optimiser,
        training_clips(begun.windows, begun.spec, plan, fabric, seed=config.seed, start=start),
        schedule=plan.learning_rate,
        seed=config.seed,
        start=start,
    )
    per_epoch = len(begun.windows.positions) // plan.batch_size
    with watched(updates, recorder, steps=plan.steps, title="cloning") as each:
        for update in each:
            step = update.step
            if step == 1 or due(step, config.log_every, plan.steps):
                line = recorder.line(update, "clips", plan.batch_size, per_epoch)
                recorder.log(line, "error {loss:.3f}".format(**line))
            if due(step, plan.save_every, plan.steps):
                recorder.save(step)
    on_first(lambda: write_atomically(config.out / POLICY, sealed(policy.state_dict())))
    recorder.finish()
    return policy.cpu().eval()


def _build_policy(begun: OpenTraining) -> GoalPolicy:
    if not begun.spec.action_dim:
        raise UserError(f"{begun.config.data}: no actions to clone")
    torch.manual_seed(seed_from(begun.config.seed, Stream.WEIGHTS))
    return GoalPolicy(begun.spec).to(memory_format=torch.channels_last)


def _build_compute(begun: OpenTraining, model: nn.Module) -> Callable[[Clips, int], CloningTerms]:
    def compute(clips: Clips, _step: int) -> CloningTerms:
        frames, actions = (x.to(begun.fabric.device, non_blocking=True) for x in clips[:2])
        ahead = torch.randint(1, frames.shape[1], (len(frames),), device=frames.device)
        goals = frames[torch.arange(len(frames), device=frames.device), ahead]
        error = mean_squared_error(model(frames[:, 0], goals).float(), actions[:, 0])
        return CloningTerms(error)

    return compute


def load_cloned_policy(folder: Path) -> GoalPolicy:
    """A policy that `train_policy` wrote, in eval mode, on the CPU."""
    if not (folder / POLICY).is_file():
        raise UserError(f"{folder}: no policy here ({POLICY} is missing)")
    sizes = read_run(folder).policy
    if sizes is None:
        raise UserError(f"{shown(folder)}: config.json does not hold the policy's sizes")
    policy = GoalPolicy(WorldModelSpec.from_json(sizes))
    weights = unsealed(folder / POLICY)
    with reading(folder / POLICY, "the weights of what config.json describes"):
        policy.load_state_dict(weights)
    return policy.eval()
