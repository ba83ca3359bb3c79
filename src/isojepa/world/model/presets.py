"""What a world model is made of, and the sizes that have names."""

import difflib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import torch

from isojepa.errors import UserError
from isojepa.world.episodes.action_scale import ActionScale
from isojepa.world.model.encoders import Features, Options
from isojepa.world.model.norms import Norm

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class WorldModelSpec:
    """All that is needed to rebuild a world model, its weights apart."""

    encoder: str
    """A timm model name; `lewm_vit` and `conv_micro` are ours."""
    encoder_options: Options = field(default_factory=dict)
    """Passed to the encoder's constructor."""
    frozen: Features | None = None
    """Which features of an encoder that is not trained; None trains it."""
    frame_size: int
    """Side of the frames in pixels."""
    embedding_dim: int
    projector_hidden: int | None
    """Hidden width of the two projectors; None leaves them out."""
    history: int
    """Most frames the predictor sees."""
    width: int
    """Of the predictor, as are the next five."""
    depth: int
    heads: int
    head_width: int
    mlp: int
    dropout: float
    norm: Norm = "batch"
    """Of encoder and projectors: as published, over the batch; within each sample by groups; or
    none."""
    frame_skip: int = 5
    """Environment steps between two frames."""
    action_dim: int = 0
    """Numbers in a block of frame_skip actions; 0 without actions."""
    action_mean: tuple[float, ...] = ()
    """Of the environment's actions in training; likewise `action_std`."""
    action_std: tuple[float, ...] = ()
    pixel_mean: tuple[float, ...] = IMAGENET_MEAN
    """Per channel, of pixels in [0, 1]; likewise `pixel_std`. Frames that are stacked, the newest
    last, have as many times three channels."""
    pixel_std: tuple[float, ...] = IMAGENET_STD

    @property
    def scale(self) -> ActionScale:
        """How actions are normalised."""
        return ActionScale(torch.tensor(self.action_mean), torch.tensor(self.action_std))

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "WorldModelSpec":
        """The inverse of `as_json`."""
        settings: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**settings)


class Preset(NamedTuple):
    """A named size, and how it is trained when nothing else is asked for."""

    spec: WorldModelSpec
    batch_size: int
    lr: float
    epochs: int
    weight_decay: float = 1e-3
    slices: int = 1024
    rollout_steps: int = 1


PUBLISHED = WorldModelSpec(
    encoder="lewm_vit",
    frame_size=224,
    embedding_dim=192,
    projector_hidden=2048,
    history=3,
    width=192,
    depth=6,
    heads=16,
    head_width=64,
    mlp=2048,
    dropout=0.1,
)
SMALL = replace(
    PUBLISHED,
    encoder_options={"patch_size": 8, "depth": 6},
    frame_size=64,
    embedding_dim=96,
    projector_hidden=512,
    depth=4,
    heads=6,
    head_width=32,
    mlp=768,
)
MICRO = replace(
    SMALL,
    encoder="conv_micro",
    encoder_options={},
    embedding_dim=64,
    projector_hidden=256,
    history=1,
    width=64,
    depth=2,
    heads=2,
    mlp=256,
    dropout=0.0,
)
PRESETS = {
    "lewm": Preset(PUBLISHED, batch_size=128, lr=5e-5, epochs=10),
    "lewm-small": Preset(SMALL, batch_size=128, lr=3e-4, epochs=10),
    "lewm-micro": Preset(MICRO, batch_size=64, lr=1e-3, epochs=10, slices=256),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: with close names, if there is none.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1) or list(PRESETS)
        raise UserError(f"--preset {name}: there is none of that name; try {', '.join(close)}")
    return PRESETS[name]
