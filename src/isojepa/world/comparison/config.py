"""What a user may say about a comparison, and how each contender is trained and plans."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isojepa.devices import Device
from isojepa.files import Json
from isojepa.runs.settings import require, require_bounds
from isojepa.world.control.config import PlanConfig
from isojepa.world.control.pairs import Protocol
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.model.presets import preset

OURS, CLONING, FROZEN = "sigreg", "cloning", "frozen"
LABELS = {
    OURS: "LeWM: SIGReg",
    "no-regulariser": "no regulariser",
    "vicreg": "VICReg's terms",
    CLONING: "behaviour cloning",
    "random": "random actions",
    "oracle": "scripted, no noise",
}


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """Train LeWM and its baselines alike and let them reach the same goals; one table."""

    data: Path
    """Episodes, with actions; see isojepa world train."""
    out: Path
    """Folder to write to. An existing one is refused without --resume or --overwrite."""
    camera: str | None = None
    """Where the data set has several: the column of its frames, or the last part of that name."""
    env: str | None = None
    """Id of the environment. Default: the one the data set recorded."""
    preset: str = "lewm-micro"
    """lewm, lewm-small or lewm-micro: of all that is trained, but for the frozen encoder."""
    steps: int = 2000
    """Updates of each."""
    seed: int = 0
    """Of everything random: split, order, weights, pairs."""
    seeds: int = 1
    """Train and play anew with this many seeds, from --seed on; success is pooled over them."""

    pairs: int = 200
    """Start and goal pairs, per seed."""
    protocol: Protocol = "strict"
    """strict: from held-out episodes, no pair solved at the start. published: any."""
    offset: int = 25
    """Environment steps from start to goal in the data set."""
    budget: int = 50
    """Environment steps allowed."""

    frozen_encoder: str = "vit_small_patch14_dinov2.lvd142m"
    """timm name of the network whose frozen features are planned with, as in DINO-WM."""
    frozen_pretrained: bool = True
    """Its published weights, downloaded by timm; otherwise random ones."""
    without: tuple[Literal["no-regulariser", "vicreg", "frozen", "cloning"], ...] = ()
    """Baselines to leave out."""

    device: Device = "auto"
    """Where to train and plan."""
    resume: bool = False
    """Go on with an interrupted comparison: what is trained is kept; all goals are played anew."""
    overwrite: bool = False
    """Delete OUT first."""

    def __post_init__(self) -> None:
        preset(self.preset)
        require_bounds(self, ("steps", "seeds", "pairs", "offset", "budget"))
        require(self.seed >= 0, "--seed must not be negative")
        require(not (self.resume and self.overwrite), "give --resume or --overwrite, not both")


def contenders_of(config: CompareConfig, seed: int) -> dict[str, WorldTrainConfig]:
    """How each contender is trained, by name, in the order of training."""
    changes: dict[str, Json] = {
        OURS: {},
        "no-regulariser": {"regulariser": "none"},
        "vicreg": {"regulariser": "vicreg"},
        FROZEN: {
            "encoder": config.frozen_encoder,
            "pretrained": config.frozen_pretrained,
            "frozen": "grid",
        },
        CLONING: {},
    }
    return {
        name: WorldTrainConfig(
            data=config.data,
            out=config.out / name / f"seed-{seed}",
            camera=config.camera,
            preset=config.preset,
            steps=config.steps,
            seed=seed,
            device=config.device,
            **changed,
        )
        for name, changed in changes.items()
        if name not in config.without
    }


def plan_config(config: CompareConfig, folder: Path, seed: int) -> PlanConfig:
    """How a trained world model plans: by the default recipe, as all do."""
    return PlanConfig(
        run=folder,
        env=config.env,
        protocol=config.protocol,
        pairs=config.pairs,
        offset=config.offset,
        budget=config.budget,
        seed=seed,
        films=0,
        device=config.device,
    )


def label(config: CompareConfig, name: str) -> str:
    """A contender in words."""
    if name == FROZEN:
        encoder = config.frozen_encoder.split(".")[0]
        return f"frozen {encoder}" + ("" if config.frozen_pretrained else ", random weights")
    return LABELS.get(name, name)
