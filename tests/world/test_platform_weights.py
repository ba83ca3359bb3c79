"""The published architecture: sizes and outputs equal to the platform's, in both directions."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from platform_models import platform_lewm, shake

from isojepa.errors import UserError
from isojepa.world.model.platform_weights import (
    as_platform_model,
    export_platform_weights,
    from_platform,
    load_platform_weights,
)
from isojepa.world.model.presets import IMAGENET_MEAN, IMAGENET_STD, PRESETS
from isojepa.world.model.world_model import WorldModel

pytest.importorskip("stable_worldmodel")
pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def theirs() -> Any:
    model = platform_lewm()
    shake(model)
    return model


def standardise(frames: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_STD))
    return (frames / 255 - mean) / std


def compare(theirs: Any, *, size: int, t: int = 3, action_dim: int = 10) -> None:
    """Embeddings, teacher-forced predictions and rollouts of the two are equal."""
    torch.manual_seed(0)
    ours = from_platform(theirs)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    frames = torch.randint(0, 256, (2, t, 3, size, size), dtype=torch.uint8)
    actions = torch.randn(2, t, action_dim)
    with torch.no_grad():
        info = theirs.encode({"pixels": standardise(frames.float()), "action": actions})
        z = ours.encode(frames)
        torch.testing.assert_close(z, info["emb"], rtol=1e-4, atol=1e-4)
        expected = theirs.predict(info["emb"], info["act_emb"])
        torch.testing.assert_close(ours.predict(z, actions), expected, rtol=1e-4, atol=1e-4)

        candidates = torch.randn(2, 4, 6, action_dim)
        pixels, goal = (
            standardise(x.float())[:, None].expand(2, 4, -1, -1, -1, -1)
            for x in (frames[:, -1:], frames[:, :1])
        )
        info = {"pixels": pixels, "action": torch.zeros(2, 4, 1, action_dim)}
        expected = theirs.rollout(info, candidates)["predicted_emb"][:, :, 1:]
        rolled = ours.rollout(z[:, -1:], actions[:, :0], candidates)
        torch.testing.assert_close(rolled, expected, rtol=1e-4, atol=1e-4)
        info = {"pixels": pixels[:1], "goal": goal[:1], "action": torch.zeros(1, 4, 1, action_dim)}
        expected = theirs.get_cost(dict(info), candidates[:1])  # it takes one episode at a time
        cost = as_platform_model(ours).get_cost({"pixels": pixels, "goal": goal}, candidates)
        torch.testing.assert_close(cost[:1], expected, rtol=1e-4, atol=1e-4)


def test_outputs_equal_the_platforms(theirs: Any) -> None:
    compare(theirs, size=28)


def test_a_predictor_of_another_width(theirs: Any) -> None:
    del theirs
    other = platform_lewm(width=16, history=2)
    shake(other)
    compare(other, size=28, t=2)


def test_several_frames_of_history_through_the_adapter(theirs: Any) -> None:
    ours = as_platform_model(from_platform(theirs))
    torch.manual_seed(1)
    frames = torch.randn(1, 1, 2, 3, 28, 28).expand(-1, 4, -1, -1, -1, -1)
    candidates = torch.randn(1, 4, 5, 10)
    info = {"pixels": frames, "goal": frames[:, :, :1], "action": torch.zeros(1, 4, 2, 10)}
    with torch.no_grad():
        expected = theirs.get_cost(dict(info), candidates)
    torch.testing.assert_close(
        ours.get_cost(dict(info), candidates), expected, rtol=1e-4, atol=1e-4
    )


def test_our_weights_load_into_the_platforms_model(theirs: Any) -> None:
    ours = from_platform(theirs)
    shake(ours, seed=3)
    other = platform_lewm()
    other.load_state_dict(export_platform_weights(ours))
    compare(other, size=28)


def test_both_layouts_of_names_and_a_lightning_prefix(theirs: Any) -> None:
    ours = from_platform(theirs)
    state = export_platform_weights(ours, "transformers-4")
    assert "encoder.encoder.layer.1.attention.attention.query.weight" in state
    state = {f"model.{name}": x for name, x in state.items()} | {"sigreg.t": torch.zeros(3)}
    again = load_platform_weights(state, head_width=8, encoder_heads=3)
    for name, x in ours.state_dict().items():
        assert torch.equal(x, again.state_dict()[name]), name


def test_other_weights_are_refused(theirs: Any) -> None:
    with pytest.raises(UserError, match="missing"):
        load_platform_weights({"x": torch.zeros(1)})
    state = theirs.state_dict()
    state["extra"] = torch.zeros(1)
    with pytest.raises(UserError, match="extra"):
        load_platform_weights(state, head_width=8)


def test_the_platforms_solver_plans_with_our_model(theirs: Any) -> None:
    import gymnasium as gym
    import numpy as np
    from stable_worldmodel.solver.cem import CEMSolver

    costs = []
    for model in (theirs, as_platform_model(from_platform(theirs))):
        solver = CEMSolver(model, num_samples=12, n_steps=2, topk=3, seed=1)
        space = gym.spaces.Box(-1, 1, (2, 2), np.float32)
        solver.configure(
            action_space=space, n_envs=2, config=SimpleNamespace(horizon=3, action_block=5)
        )
        torch.manual_seed(0)
        info = {
            "pixels": torch.randn(2, 1, 3, 28, 28),
            "goal": torch.randn(2, 1, 3, 28, 28),
            "action": torch.zeros(2, 1, 10),
        }
        costs.append(solver.solve(info)["actions"])
    torch.testing.assert_close(costs[0], costs[1], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_the_preset_is_the_published_model() -> None:
    theirs = platform_lewm(
        frame_size=224, d=192, encoder_depth=12, depth=6, heads=16, head_width=64, mlp=2048,
        hidden=2048,
    )  # fmt: skip
    shake(theirs)
    compare(theirs, size=224)
    from dataclasses import replace

    ours = WorldModel(replace(PRESETS["lewm"].spec, action_dim=10))
    parameters = sum(p.numel() for p in theirs.parameters())
    assert sum(p.numel() for p in ours.parameters()) == parameters
    assert round(parameters / 1e6, 1) == 18.0
