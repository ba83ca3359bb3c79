"""What a user may say about training a world model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isojepa.objective.directions import Directions
from isojepa.objective.regularisers import TESTS
from isojepa.objective.sigreg import Scale
from isojepa.runs.config import RunConfig
from isojepa.runs.settings import Said, as_paths, remembers, require, require_bounds
from isojepa.world.model.encoders import Features
from isojepa.world.model.presets import preset

Regulariser = Literal["sigreg", "exact", "decoupled", "visreg", "vicreg", "ksd", "none"]
AT_LEAST_ONE = (
    "embedding_dim", "history", "frame_skip", "frame_size", "rollout_steps", "slices",
    "batch_size", "steps", "epochs", "evaluate_every",
)  # fmt: skip


AT_MOST = {
    "lambd": 1e6, "weight_decay": 1e3, "frame_size": 4096, "embedding_dim": 2**16,
    "history": 10_000, "frame_skip": 10_000, "rollout_steps": 10_000, "slices": 2**20,
    "steps": 10**9, "epochs": 10**9,
}  # fmt: skip
"""Far beyond sense, and below what no number or memory holds."""


@remembers
@dataclass(frozen=True, kw_only=True)
class WorldTrainConfig(RunConfig):
    """Train a world model on episodes of frames and actions. Only --data and --out are needed."""

    data: Path
    """Episodes: Lance or HDF5 of the stable-worldmodel platform, the official LeWM files, a LeRobot
    data set, or videos (without actions it learns to predict the next frame)."""
    camera: str | None = None
    """Where the data set has several: the column of its frames, or the last part of that name."""
    preset: str | None = None
    """lewm, the published model at 224 px; lewm-small; or lewm-micro, made for CPUs, both at 64 px.
    Default: lewm on a GPU, else lewm-micro. The defaults below are the preset's."""

    encoder: str | None = None
    """Any timm model name, or conv_micro, or lewm_vit."""
    start_from: Path | None = None
    """Run folder of `isojepa world train`: begin with its weights, sizes and scale of actions."""
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
    """What keeps the embeddings from collapsing: sigreg; exact, its closed form; decoupled, scale
    and shape apart; visreg; vicreg, its variance and covariance terms; ksd, the kernel Stein
    discrepancy; or none, which lets them collapse."""
    lambd: float | Literal["auto"] | None = None
    """Weight of the regulariser. auto finds it while training, for sigreg and exact: see `isojepa
    pretrain`. Default: 0.09 for sigreg, exact and decoupled, 1.5 for visreg, 1 for vicreg, 0.01 for
    ksd."""
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

    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """auto: bf16-mixed on GPUs that have it, else 32-true."""
    cache: Path | None = None
    """Folder of decoded frames. Default: isojepa/frames in your cache folder."""

    log_every: int = 20
    """Updates between two lines of metrics.jsonl."""
    on_collapse: Literal["warn", "stop"] = "warn"
    """What to do when training collapses."""
    evaluate_every: int | None = None
    """Updates between two measurements on the held-out episodes. Default: ten in all."""

    replay = "isojepa world replay"
    may_differ = RunConfig.may_differ | {"cache", "evaluate_every", "on_collapse"}

    def __post_init__(self, said: Said) -> None:
        super().__post_init__(said)
        as_paths(self, "cache", "start_from")
        require_bounds(self, AT_LEAST_ONE, AT_MOST)
        if self.preset is not None:
            preset(self.preset)
        number = None if self.lambd == "auto" else self.lambd
        require(number is None or number >= 0, "--lambd must not be negative")
        require(self.lr is None or self.lr > 0, "--lr must be positive")
        negative = self.weight_decay is not None and self.weight_decay < 0
        require(not negative, "--weight-decay must not be negative")
        require(0 <= self.held_out < 1, "--held-out must lie in [0, 1)")
        other = self.pretrained or self.frozen is not None or self.preset is not None
        require(
            self.start_from is None or not other,
            "--start-from has a network: leave out --preset, --pretrained and --frozen",
        )
        require(
            self.regulariser != "none" or not self.lambd,
            "--regulariser none has no weight: leave out --lambd",
        )
        decoupled = self.scale == "decoupled" or self.regulariser == "decoupled"
        followed = self.regulariser in TESTS and not decoupled and self.frozen is None
        require(
            self.lambd != "auto" or followed,
            "--lambd auto goes by SIGReg's value: with --regulariser sigreg or exact, an encoder "
            "that is trained, and --scale joint",
        )
        require(
            self.directions != "exact" or not decoupled,
            "--scale and --regulariser decoupled work along slices: --directions cannot be exact",
        )
        require(
            self.regulariser != "exact" or self.scale == "joint",
            "--scale decoupled works along slices: --regulariser cannot be exact",
        )
