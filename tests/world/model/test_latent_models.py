"""One contract, one checker, every model that planners may plan with."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from isojepa.world.model.latent import LatentModel
from isojepa.world.model.platform_weights import from_platform
from isojepa.world.model.world_model import WorldModel
from tests.world.latent_models import Positions
from tests.world.model.platform_models import platform_lewm, shake
from tests.world.model.test_model import TINY


def tiny(**changes: object) -> WorldModel:
    model = WorldModel(replace(TINY, **changes)).eval()
    shake(model)
    return model


def of_the_platform() -> WorldModel:
    pytest.importorskip("stable_worldmodel")
    theirs = platform_lewm()
    shake(theirs)
    return from_platform(theirs, frame_skip=5, action_mean=(0.0, 0.1), action_std=(1.0, 2.0))


MODELS: dict[str, Callable[[], LatentModel]] = {
    "world model": tiny,
    "of one frame": lambda: tiny(history=1),
    "for planning": lambda: tiny().for_planning(),
    "for planning, bfloat16": lambda: tiny().for_planning(torch.bfloat16),
    "without actions": lambda: tiny(action_dim=0, action_mean=(), action_std=()),
    "of the platform": of_the_platform,
    "positions": lambda: Positions(frame_skip=2),
}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_every_latent_model_passes_the_checker(name: str) -> None:
    model = MODELS[name]()
    assert isinstance(model, LatentModel)
    b, t, s, h, d, a = 2, 3, 4, 5, model.embedding_dim, model.action_dim
    generator = torch.Generator().manual_seed(0)
    shape = (b, t, 3, model.frame_size, model.frame_size)
    frames = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    z = model.encode(frames)
    assert z.shape == (b, t, d)
    assert z.device.type == model.device.type
    each = torch.cat([model.encode(frames[:, i : i + 1]) for i in range(t)], 1)
    torch.testing.assert_close(z, each, rtol=1e-4, atol=1e-4)

    past = torch.randn(b, t - 1, a, generator=generator)
    candidates = torch.randn(b, s, h, a, generator=generator)
    future = model.rollout(z, past, candidates)
    assert future.shape == (b, s, h, d)
    assert future.dtype == z.dtype
    close = {"rtol": 3e-2, "atol": 3e-2} if "bfloat16" in name else {"rtol": 1e-4, "atol": 1e-4}
    for row in range(b):  # episodes and candidates do not see each other, nor the past the future
        alone = model.rollout(z[row : row + 1], past[row : row + 1], candidates[row : row + 1, 1:2])
        torch.testing.assert_close(alone[0, 0], future[row, 1], **close)
    short = model.rollout(z, past, candidates[:, :, :2])
    torch.testing.assert_close(short, future[:, :, :2], **close)
    kept = model.history  # frames before the history do not count
    recent = model.rollout(z[:, -kept:], past[:, t - kept :], candidates)
    torch.testing.assert_close(recent, future, **close)

    blocks = past.numpy()
    torch.testing.assert_close(model.scale.normalise(model.scale.restore(past)), past)
    assert model.scale.restore(blocks).shape == blocks.shape
    assert len(model.scale.mean) * model.frame_skip == a
