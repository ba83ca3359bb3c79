"""The published architecture: sizes and outputs equal to the platform's, in both directions."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from isojepa.errors import UserError
from isojepa.world.model.platform_model import as_platform_model
from isojepa.world.model.platform_weights import (
    export_platform_weights,
    from_platform,
    load_platform_weights,
)
from isojepa.world.model.presets import IMAGENET_MEAN, IMAGENET_STD, PRESETS
from isojepa.world.model.world_model import WorldModel
from tests.world.model.platform_models import platform_lewm, shake

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


def below(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: x for name, x in state.items()}


T = {"sigreg.t": torch.zeros(3)}
WRAPPED = {
    "plain": lambda s: s,
    "model.": lambda s: below("model.", s),
    "sigreg beside": lambda s: s | T,
    "sigreg outside": lambda s: below("model.", s) | T,
    "sigreg inside": lambda s: below("model.", s | T),
    "DDP": lambda s: below("module.", s | T),
    "compiled": lambda s: below("_orig_mod.", s),
    "compiled DDP": lambda s: below("module._orig_mod.model.", s),
    "Lightning": lambda s: {
        "epoch": 3,
        "state_dict": below("model.", s) | T,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
    },
    "a trainer": lambda s: {
        "model_state_dict": below("module.net.", s),
        "optimizer": {"state": {0: {"step": torch.zeros(1)}}},
        "scaler": {"scale": torch.ones(1)},
    },
    "compiled parts": lambda s: {
        n.replace("encoder.", "encoder._orig_mod.", 1) if n.startswith("encoder.") else n: x
        for n, x in s.items()
    },
    "what a ViT has beside": lambda s: s | {"encoder.pooler.dense.weight": torch.zeros(2, 2)},
}


@pytest.mark.parametrize("layout", ["transformers-5", "transformers-4"])
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_weights_are_found_in_whatever_was_saved_around_them(
    theirs: Any, layout: Any, wrapped: str
) -> None:
    ours = from_platform(theirs)
    state = WRAPPED[wrapped](export_platform_weights(ours, layout))
    again = load_platform_weights(state, head_width=8, encoder_heads=3).state_dict()
    for name, x in ours.state_dict().items():
        assert torch.equal(x, again[name]), name


def test_other_weights_are_refused(theirs: Any) -> None:
    with pytest.raises(UserError, match=r"pos_embedding is missing; there are net\.x, all below"):
        load_platform_weights({"net.x": torch.zeros(1)})
    with pytest.raises(UserError, match="no tensors"):
        load_platform_weights({})
    state = theirs.state_dict()
    with pytest.raises(UserError, match=r"encoder\.extra"):
        load_platform_weights(
            state | {"encoder.extra": torch.zeros(1)}, head_width=8, encoder_heads=3
        )
    fewer = {n: x for n, x in state.items() if "patch_embeddings" not in n}
    with pytest.raises(UserError, match="patch_embed"):
        load_platform_weights(below("model.", fewer), head_width=8, encoder_heads=3)
    both = below("student.", state) | below("ema.", state)
    with pytest.raises(UserError, match="choose one by prefix: 'ema', 'student'"):
        load_platform_weights(both, head_width=8, encoder_heads=3)
    load_platform_weights(both, prefix="ema", head_width=8, encoder_heads=3)


def test_heads_that_the_widths_rule_out(theirs: Any) -> None:
    state = theirs.state_dict()
    with pytest.raises(UserError, match="head_width 64 does not divide"):
        load_platform_weights(state, encoder_heads=3)
    with pytest.raises(UserError, match=r"encoder_heads 7: .* has not so many"):
        load_platform_weights(state, head_width=8, encoder_heads=7)
    with pytest.raises(UserError, match="has not heads of 64"):
        load_platform_weights(state, head_width=8)


def test_the_adapter_leaves_the_model_in_its_mode(theirs: Any) -> None:
    ours = from_platform(theirs).train()
    assert not as_platform_model(ours).model.training
    assert ours.training
    assert ours.projector.training


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
