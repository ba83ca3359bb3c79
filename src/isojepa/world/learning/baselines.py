"""What a world model has to beat, trained by the same loop on the same clips.

Without a regulariser, with VICReg's, with frozen features as in DINO-WM; and a policy that clones
the behaviour in the data, from where it is and where it shall be.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Shaped
from safetensors.torch import load_file, save
from torch import Tensor, nn

from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.objective.lewm import LeWMTerms, mean_squared_error
from isojepa.progress import bar
from isojepa.randomness import Stream, seed_from
from isojepa.runs.folder import (
    make_run_folder,
    provenance,
    read_run,
    write_json,
)
from isojepa.training.launch import start_fabric
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.loop import make_optimiser, optimise, scheduled_rate
from isojepa.world.learning.split import write_record
from isojepa.world.learning.train import (
    as_stored,
    describe_data,
    prepare,
    run,
    training_clips,
)
from isojepa.world.model.encoders import FrameEncoder, standardise
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.world_model import WorldModel, load_world_model, projector

GOAL_BLOCKS = 5  # a cloned policy's goals lie 1 to 5 blocks ahead in the same episode
DINO = "vit_small_patch14_dinov2.lvd142m"
POLICY = "policy.safetensors"


class Baselines(NamedTuple):
    """The trained baselines; every world model plans as LeWM does."""

    no_regulariser: WorldModel
    vicreg: WorldModel
    frozen: WorldModel
    cloning: "GoalPolicy"


def baselines(
    config: WorldTrainConfig, *, frozen_encoder: str = DINO, pretrained: bool = True
) -> dict[str, WorldTrainConfig]:
    """How each baseline is trained, in the order of `Baselines`: as `config` says, but for what
    makes it one, and into a folder of its own name below the `out` of `config`.

    Args:
        frozen_encoder: timm name of the network whose features are kept.
        pretrained: with its published weights, downloaded by timm; False leaves them random.
    """
    changes: dict[str, dict[str, Any]] = {
        "no-regulariser": {"regulariser": "none"},
        "vicreg": {"regulariser": "vicreg"},
        "frozen": {"encoder": frozen_encoder, "pretrained": pretrained, "frozen": "grid"},
        "cloning": {},
    }
    return {
        name: replace(config, out=config.out / name, lambd=None, **changed)
        for name, changed in changes.items()
    }


def train_baselines(
    config: WorldTrainConfig, *, frozen_encoder: str = DINO, pretrained: bool = True
) -> Baselines:
    """Train each baseline at the budget of `config`; see `baselines`."""
    each = baselines(config, frozen_encoder=frozen_encoder, pretrained=pretrained)

    def world(name: str) -> WorldModel:
        return load_world_model(run(each[name]))

    return Baselines(
        world("no-regulariser"), world("vicreg"), world("frozen"), train_policy(each["cloning"])
    )


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
        self.projector = projector(self.encoder.features, spec.projector_hidden, d)
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
        both = standardise(torch.cat([now, goal]), self.mean, self.std)
        return self.head(torch.cat(self.projector(self.encoder(both)).chunk(2), -1))


def train_policy(config: WorldTrainConfig) -> GoalPolicy:
    """Train a policy by behaviour cloning; its goals are later frames of the same clip.

    To resume is to load a trained policy, and to train one that is not finished from the start.

    Raises:
        UserError: if the data have no actions.
    """
    if config.resume and (config.out / POLICY).is_file():
        return load_policy(config.out)
    config = replace(config, history=1, rollout_steps=GOAL_BLOCKS, frozen=None)
    fabric = start_fabric(config.device, config.devices, config.precision)
    if fabric.global_rank == 0:
        make_run_folder(config.out, resume=False, overwrite=config.overwrite or config.resume)
    spec, plan, windows = prepare(config, gpu=fabric.device.type == "cuda")
    if not spec.action_dim:
        raise UserError(f"{config.data}: no actions to clone")
    described = {
        "config": as_stored(config, plan),
        "data": describe_data(windows.trajectories),
        "policy": spec.as_json(),
        **provenance(fabric.device),
    }
    if fabric.global_rank == 0:
        write_json(config.out / "config.json", described)
        write_record(config.out, windows.recorded)
    torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
    policy = GoalPolicy(spec).to(memory_format=torch.channels_last)
    model, optimiser = fabric.setup(policy, make_optimiser(policy, plan))

    def compute(clips: Clips) -> LeWMTerms:
        frames, actions = (x.to(fabric.device, non_blocking=True) for x in clips[:2])
        ahead = torch.randint(1, frames.shape[1], (len(frames),), device=frames.device)
        goals = frames[torch.arange(len(frames), device=frames.device), ahead]
        error = mean_squared_error(model(frames[:, 0], goals).float(), actions[:, 0])
        return LeWMTerms(error, error, error.new_zeros(()), error.new_zeros(()))

    updates = optimise(
        fabric,
        model,
        compute,
        optimiser,
        training_clips(windows, spec, plan, fabric, seed=config.seed, start=0),
        objective=None,
        schedule=lambda step: scheduled_rate(plan, step),
        seed=config.seed,
        stop=plan.steps,
    )
    clock = time.perf_counter()
    with bar(plan.steps, "cloning") as advance:
        for update in updates:
            loss = update.terms.loss
            advance(1, f"error {loss:.3f}" if update.step % config.log_every == 0 else "")
    if fabric.global_rank == 0:
        described["seconds"] = round(time.perf_counter() - clock, 1)
        write_json(config.out / "config.json", described)
        weights = {name: x.cpu().contiguous() for name, x in policy.state_dict().items()}
        write_atomically(config.out / POLICY, save(weights))
    return policy.cpu().eval()


def load_policy(folder: Path) -> GoalPolicy:
    """A policy that `train_policy` wrote, in eval mode, on the CPU."""
    if not (folder / POLICY).is_file():
        raise UserError(f"{folder}: no policy here ({POLICY} is missing)")
    policy = GoalPolicy(WorldModelSpec.from_json(read_run(folder)["policy"]))
    policy.load_state_dict(load_file(folder / POLICY))
    return policy.eval()
