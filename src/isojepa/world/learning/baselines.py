"""What a world model has to beat, trained by the same loop on the same clips.

Without a regulariser, with VICReg's, with frozen features as in DINO-WM; and a policy that clones
the behaviour in the data, from where it is and where it shall be.
"""

from dataclasses import replace
from typing import NamedTuple

from isojepa.files import Json
from isojepa.world.learning.cloning import GoalPolicy, train_policy
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import train_world_model
from isojepa.world.model.world_model import WorldModel, load_world_model

DINO = "vit_small_patch14_dinov2.lvd142m"


class Baselines(NamedTuple):
    """The trained baselines; every world model plans as LeWM does."""

    no_regulariser: WorldModel
    vicreg: WorldModel
    frozen: WorldModel
    cloning: GoalPolicy


def baseline_configs(
    config: WorldTrainConfig, *, frozen_encoder: str = DINO, pretrained: bool = True
) -> dict[str, WorldTrainConfig]:
    """How each baseline is trained, in the order of `Baselines`: as `config` says, but for what
    makes it one, and into a folder of its own name below the `out` of `config`.

    Args:
        frozen_encoder: timm name of the network whose features are kept.
        pretrained: with its published weights, downloaded by timm; False leaves them random.
    """
    changes: dict[str, Json] = {
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
    """Train each baseline at the budget of `config`; see `baseline_configs`."""
    each = baseline_configs(config, frozen_encoder=frozen_encoder, pretrained=pretrained)

    def world(name: str) -> WorldModel:
        return load_world_model(train_world_model(each[name]))

    return Baselines(
        world("no-regulariser"), world("vicreg"), world("frozen"), train_policy(each["cloning"])
    )
