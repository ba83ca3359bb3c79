"""What a user may say about training a world model, and how the rest follows from the data."""

from dataclasses import InitVar, dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from isojepa.devices import Device
from isojepa.objective.directions import Directions
from isojepa.objective.sigreg import Scale
from isojepa.runs.settings import (
    Said,
    as_paths,
    remembers,
    require,
    require_at_least_one,
    require_at_most,
)
from isojepa.world.model.encoders import Features
from isojepa.world.model.presets import WorldModelSpec, preset

Regulariser = Literal["sigreg", "vicreg", "none"]
AT_LEAST_ONE = (
    "embedding_dim", "history", "frame_skip", "frame_size", "rollout_steps", "slices",
    "batch_size", "steps", "epochs", "devices", "log_every", "evaluate_every", "save_every",
)  # fmt: skip


AT_MOST = {
    "lambd": 1e6, "weight_decay": 1e3, "frame_size": 4096, "embedding_dim": 2**16,
    "history": 10_000, "frame_skip": 10_000, "rollout_steps": 10_000, "slices": 2**20,
    "steps": 10**9, "epochs": 10**9, "devices": 10**5, "seed": 2**63 - 1,
}  # fmt: skip
"""Far beyond sense, and below what no number or memory holds."""


@remembers
@dataclass(frozen=True, kw_only=True)
class WorldTrainConfig:
    """Train a world model on episodes of frames and actions. Only --data and --out are needed."""

    said: InitVar[Said] = None
    data: Path
    """Episodes: Lance or HDF5 of the stable-worldmodel platform, the official LeWM files, a LeRobot
    data set, or videos (without actions it learns to predict the next frame)."""
    out: Path
    """Folder to write the run to. An existing one is refused without --resume or --overwrite."""
    camera: str | None = None
    """Where the data set has several: the column of its frames, or the last part of that name."""
    preset: str | None = None
    """lewm, the published model at 224 px; lewm-small; or lewm-micro, made for CPUs, both at 64 px.
    Default: lewm on a GPU, else lewm-micro. The defaults below are the preset's."""

    encoder: str | None = None
    """Any timm model name, or conv_micro, or lewm_vit."""
    pretrained: bool = False
    """Start the encoder from timm's published weights (downloaded by timm)."""
    frozen: Features | None = None
    """Do not train the encoder: take its pooled features, or its feature map as a 4 x 4 grid,
    reduced to --embedding-dim principal axes, as in DINO-WM."""
    frame_size: int | None = None
    """Side of the frames in pixels."""
    embedding_dim: int | None = None
    """Numbers in an embedding."""
    history: int | None = None
    """Most frames that a prediction sees."""
    frame_skip: int = 5
    """Environment steps, and actions, between two frames of a clip."""

    regulariser: Regulariser = "sigreg"
    """What keeps the embeddings from collapsing: sigreg; vicreg, its variance and covariance
    terms; or none, which lets them collapse."""
    lambd: float | None = None
    """Weight of the regulariser. Default: 0.09 for sigreg, 1 for vicreg."""
    slices: int | None = None
    """Random directions of SIGReg per update and time step."""
    directions: Directions = "random"
    """Directions of SIGReg; exact takes all of them in closed form."""
    scale: Scale = "joint"
    """Whether SIGReg tests location and scale with the shape, or apart from it."""
    rollout_steps: int | None = None
    """Blocks predicted open loop during training; 1 is the published teacher forcing alone."""

    steps: int | None = None
    """Updates to make; takes precedence over --epochs. With --resume, more than before train on."""
    epochs: int | None = None
    """Passes over all windows of the training episodes."""
    batch_size: int | None = None
    """Clips per update, over all devices."""
    lr: float | None = None
    """Peak learning rate, after a warm-up of 1 % and before a cosine."""
    weight_decay: float | None = None
    """Of AdamW, on weights but not on norms and biases."""
    held_out: float = 0.1
    """Share of the episodes, in [0, 1), kept out of training and used to measure it."""
    seed: int = 0
    """Of everything random: split, order, weights, directions, dropout."""

    device: Device = "auto"
    """Where to train."""
    devices: int = 1
    """Number of devices, each a process; --batch-size is shared among them. Under srun or torchrun,
    the number of processes that it starts on all nodes."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16-mixed on GPUs that have it, else 32-true."""
    cache: Path | None = None
    """Folder of decoded frames. Default: isojepa/frames in your cache folder."""

    log_every: int = 20
    """Updates between two lines of metrics.jsonl."""
    evaluate_every: int | None = None
    """Updates between two measurements on the held-out episodes. Default: ten in all."""
    save_every: int | None = None
    """Updates between two checkpoints. Default: a tenth of the steps, but 100 to 1,000."""
    tensorboard: bool = True
    """Write event files to OUT/tensorboard."""
    wandb: str | None = None
    """Weights & Biases project to log to (needs isojepa[wandb])."""
    resume: bool = False
    """Go on from OUT's last checkpoint, to the same result as an uninterrupted run. Settings stay
    as the run has them; those given are compared with them."""
    overwrite: bool = False
    """Delete OUT first."""

    def __post_init__(self, said: Said) -> None:
        as_paths(self, "data", "out", "cache")
        require_at_most(self, AT_MOST)
        if self.preset is not None:
            preset(self.preset)
        require(self.lambd is None or self.lambd >= 0, "--lambd must not be negative")
        require(self.lr is None or self.lr > 0, "--lr must be positive")
        negative = self.weight_decay is not None and self.weight_decay < 0
        require(not negative, "--weight-decay must not be negative")
        require(0 <= self.held_out < 1, "--held-out must lie in [0, 1)")
        require(self.seed >= 0, "--seed must not be negative")
        require(not (self.resume and self.overwrite), "give --resume or --overwrite, not both")
        require(
            self.regulariser != "none" or not self.lambd,
            "--regulariser none has no weight: leave out --lambd",
        )
        require(
            self.directions != "exact" or self.scale == "joint",
            "--scale decoupled works along slices: --directions cannot be exact",
        )
        require_at_least_one(self, AT_LEAST_ONE)


MAY_DIFFER_ON_RESUME = {
    "data", "out", "resume", "overwrite", "device", "cache", "tensorboard", "wandb", "log_every",
    "evaluate_every", "save_every",
}  # fmt: skip


def clip_frames(history: int, rollout_steps: int) -> int:
    """Frames of a training clip: the published four, or more if the predictions reach further."""
    return max(4, history + rollout_steps)


class WorldPlan(NamedTuple):
    """The settings that a configuration may leave open, settled; named as its fields."""

    preset: str
    encoder: str
    frame_size: int
    embedding_dim: int
    history: int
    lambd: float
    slices: int
    rollout_steps: int
    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    evaluate_every: int
    save_every: int

    @property
    def clip_frames(self) -> int:
        """Frames of a training clip."""
        return clip_frames(self.history, self.rollout_steps)


def model_spec(config: WorldTrainConfig, *, gpu: bool) -> tuple[str, WorldModelSpec]:
    """The preset's name and the model's sizes, before the data add theirs."""
    name = config.preset or ("lewm" if gpu else "lewm-micro")
    spec = replace(preset(name).spec, frame_skip=config.frame_skip, frozen=config.frozen)
    if config.encoder not in (None, spec.encoder):
        spec = replace(spec, encoder=config.encoder, encoder_options={})
    if config.frozen is not None:
        spec = replace(spec, projector_hidden=None)
    for field in ("frame_size", "embedding_dim", "history"):
        if getattr(config, field) is not None:
            spec = replace(spec, **{field: getattr(config, field)})
    return name, spec


def derive(config: WorldTrainConfig, name: str, spec: WorldModelSpec, windows: int) -> WorldPlan:
    """Settle what was left open, from the number of windows to train on."""
    usual = preset(name)
    batch_size = config.batch_size or min(usual.batch_size, max(2, windows // 4))
    epochs = config.epochs or usual.epochs
    steps = config.steps or max(1, epochs * (windows // batch_size))
    weight = {"sigreg": 0.09, "vicreg": 1.0, "none": 0.0}[config.regulariser]
    if config.frozen is not None:
        weight = 0.0  # nothing to regularise
    return WorldPlan(
        preset=name,
        encoder=spec.encoder,
        frame_size=spec.frame_size,
        embedding_dim=spec.embedding_dim,
        history=spec.history,
        lambd=weight if config.lambd is None else config.lambd,
        slices=config.slices or usual.slices,
        rollout_steps=config.rollout_steps or usual.rollout_steps,
        steps=steps,
        batch_size=batch_size,
        lr=config.lr or usual.lr,
        weight_decay=usual.weight_decay if config.weight_decay is None else config.weight_decay,
        evaluate_every=config.evaluate_every or max(1, steps // 10),
        save_every=config.save_every or min(1000, max(100, steps // 10)),
    )
