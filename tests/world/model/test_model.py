"""WorldModel: its rollout against a naive one, windows, encoders, planning copy, files."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from isojepa.backbones import class_tokens as class_tokens_module
from isojepa.errors import UserError
from isojepa.world.model import world_model as model_module
from isojepa.world.model.encoders import FrameEncoder
from isojepa.world.model.presets import PRESETS, WorldModelSpec, preset
from isojepa.world.model.world_model import WorldModel, export_world_model, load_world_model
from tests.world.model.platform_models import shake

TINY = WorldModelSpec(
    encoder="conv_micro",
    encoder_options={"channels": [4, 8]},
    frame_size=16,
    embedding_dim=12,
    projector_hidden=20,
    history=3,
    width=16,
    depth=2,
    heads=2,
    head_width=8,
    mlp=24,
    dropout=0.1,
    action_dim=4,
    frame_skip=2,
    action_mean=(0.0, 1.0),
    action_std=(1.0, 2.0),
)


def tiny(**changes: object) -> WorldModel:
    model = WorldModel(replace(TINY, **changes)).eval()
    shake(model)
    return model


def inputs(model: WorldModel, t: int, s: int = 3, h: int = 5) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(1)
    d, a = model.embedding_dim, model.action_dim
    shapes = ((2, t, d), (2, t - 1, a), (2, s, h, a))
    return tuple(torch.randn(shape, generator=g) for shape in shapes)


def naive_rollout(
    model: WorldModel, z: torch.Tensor, past: torch.Tensor, candidates: torch.Tensor
) -> torch.Tensor:
    """As published: every candidate's whole window goes through the predictor at every step."""
    b, s, h, _ = candidates.shape
    frames = z[:, None].expand(b, s, *z.shape[1:]).flatten(0, 1)
    earlier = past[:, None].expand(b, s, *past.shape[1:])
    actions = torch.cat([earlier, candidates], 2).flatten(0, 1)
    t = z.shape[1]
    for step in range(h):
        low = max(0, t + step - model.history)
        out = model.predict(frames[:, low:], actions[:, low : t + step])
        frames = torch.cat([frames, out[:, -1:]], 1)
    return frames[:, t:].unflatten(0, (b, s))


@pytest.mark.parametrize("history", [1, 2, 3, 6])
@pytest.mark.parametrize("t", [1, 2, 3, 5])
def test_rollout_equals_the_naive_one(history: int, t: int) -> None:
    model = tiny(history=history)
    given = inputs(model, t)
    torch.testing.assert_close(
        model.rollout(*given), naive_rollout(model, *given), rtol=1e-5, atol=1e-5
    )


def test_rollout_equals_the_naive_one_at_the_published_size_of_predictor() -> None:
    published = PRESETS["lewm"].spec
    names = ("embedding_dim", "projector_hidden", "width", "depth", "heads", "head_width", "mlp")
    model = tiny(**{name: getattr(published, name) for name in names}).double()
    given = [x.double() for x in inputs(model, 2)]
    torch.testing.assert_close(
        model.rollout(*given), naive_rollout(model, *given), rtol=1e-9, atol=1e-9
    )


def test_rollout_in_parts_and_its_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    z, past, candidates = inputs(model, 3)
    candidates.requires_grad_()
    whole = model.rollout(z, past, candidates)
    expected = torch.autograd.grad(whole.square().sum(), candidates)[0]
    monkeypatch.setattr(model_module, "AT_ONCE", 1)
    parts = model.rollout(z, past, candidates)
    torch.testing.assert_close(parts, whole)
    found = torch.autograd.grad(
        naive_rollout(model, z, past, candidates).square().sum(), candidates
    )
    torch.testing.assert_close(found[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("history", [1, 2, 6])
def test_predict_slides_its_window(history: int) -> None:
    model = tiny(history=history)
    z, _, _ = inputs(model, 6)
    actions = torch.randn(2, 6, model.action_dim)
    out = model.predict(z, actions)
    for i in range(6):
        window = slice(max(0, i - history + 1), i + 1)
        alone = model.predict(z[:, window], actions[:, window])[:, -1]
        torch.testing.assert_close(out[:, i], alone, rtol=1e-5, atol=1e-5)


def test_predict_is_causal() -> None:
    model = tiny()
    z, _, _ = inputs(model, 3)
    actions = torch.randn(2, 3, model.action_dim)
    before = model.predict(z, actions)
    z[:, 2], actions[:, 2] = 9, 9
    torch.testing.assert_close(model.predict(z, actions)[:, :2], before[:, :2])


def test_forward_predicts_what_predict_and_rollout_do() -> None:
    model = tiny()
    frames = torch.randint(0, 256, (2, 5, 3, 16, 16), dtype=torch.uint8)
    actions = torch.randn(2, 5, model.action_dim)
    z, predicted, rolled = model(frames, actions, rollout_steps=2)
    torch.testing.assert_close(z, model.encode(frames))
    torch.testing.assert_close(predicted, model.predict(z, actions)[:, :-1])
    assert rolled is not None
    expected = naive_rollout(model, z[:, :3], actions[:, :2], actions[:, None, 2:4])[:, 0, 1:]
    torch.testing.assert_close(rolled, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("trains", ["before", "after"])
def test_the_copy_for_planning_is_in_eval_mode_whatever_the_model_is_in(trains: str) -> None:
    """Batch norms by their running statistics, no dropout: also once training goes on."""
    model = tiny(projector_hidden=24, dropout=0.5)
    torch.manual_seed(0)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm1d):
            part.running_mean.normal_()  # type: ignore[union-attr, operator]
    frames = torch.randint(0, 256, (2, 3, 3, model.frame_size, model.frame_size)).byte()
    given = inputs(model, 2)
    with torch.no_grad():
        expected = model.eval().encode(frames), model.rollout(*given)
        if trains == "before":
            model.train()
        fast = model.for_planning()
        model.train()
        before = {n: x.clone() for n, x in model.state_dict().items()}
        found = fast.encode(frames), fast.rollout(*given)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)
    assert not any(part.training for part in fast.modules())
    assert all(part.training for part in model.modules())
    assert all(torch.equal(x, before[n]) for n, x in model.state_dict().items())
    assert fast.encoder is not model.encoder
    shared = {x.data_ptr() for x in model.encoder.parameters()}
    assert {x.data_ptr() for x in fast.encoder.parameters()} == shared


def test_the_copy_for_planning_computes_the_same() -> None:
    model = tiny()
    given = inputs(model, 2)
    expected = model.rollout(*given)
    fast = model.for_planning()
    torch.testing.assert_close(fast.rollout(*given), expected, rtol=1e-4, atol=1e-4)
    half = model.for_planning(torch.bfloat16)
    assert half.rollout(*given).dtype == torch.float32
    error = (half.rollout(*given) - expected).square().mean() / expected.var()
    assert error < 1e-2
    assert model.predictor.positions.dtype == torch.float32
    torch.testing.assert_close(model.rollout(*given), expected)


def test_bytes_and_floats_give_one_embedding() -> None:
    model = tiny()
    frames = torch.randint(0, 256, (2, 2, 3, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(model.encode(frames), model.encode(frames.float() / 255))


def test_plain_video_needs_no_actions() -> None:
    model = tiny(action_dim=0, action_mean=(), action_std=())
    z, past, candidates = inputs(model, 2, s=1)
    assert past.shape[-1] == 0
    assert model.rollout(z, past, candidates).shape == (2, 1, 5, 12)
    torch.testing.assert_close(
        model.rollout(z, past, candidates), naive_rollout(model, z, past, candidates)
    )


def test_blocks_of_another_size_are_refused() -> None:
    model = tiny()
    z, past, candidates = inputs(model, 1)
    with pytest.raises(ValueError, match="blocks of 3 numbers"):
        model.rollout(z, past[..., :3], candidates[..., :3])


@pytest.mark.parametrize("side", [32, 35])  # 35: the last 3 pixels make no patch
@pytest.mark.parametrize("at_a_time", [1, 2, 5])
def test_the_class_token_alone_equals_the_whole_transformer(
    side: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(class_tokens_module, "IN_CACHE", at_a_time * 17 * 192)
    encoder = FrameEncoder("lewm_vit", {"depth": 2, "patch_size": 8}, side).eval()
    shake(encoder)
    frames = torch.randn(5, 3, side, side)
    expected = encoder.backbone(frames)
    upstream = torch.randn_like(expected)
    exact = torch.autograd.grad(expected, list(encoder.parameters()), upstream)
    token = encoder(frames)
    ours = torch.autograd.grad(token, list(encoder.parameters()), upstream)
    torch.testing.assert_close(token, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-3)


def test_no_frames_have_no_class_tokens() -> None:
    encoder = FrameEncoder("lewm_vit", {"depth": 1, "patch_size": 8}, 32)
    assert encoder(torch.zeros(0, 3, 32, 32)).shape == (0, 192)


@pytest.mark.parametrize("encoder", ["resnet_nano", "vit_tiny_patch16_224", "lewm_vit"])
def test_any_encoder_of_timm_and_any_frame_size(encoder: str) -> None:
    options = {"depth": 1} if "vit" in encoder else {}
    model = tiny(encoder=encoder, encoder_options=options, frame_size=48)
    assert model.encode(torch.rand(1, 2, 3, 48, 48)).shape == (1, 2, 12)


@pytest.mark.parametrize("features", ["pooled", "grid"])
def test_frozen_features_vary_by_one_and_do_not_learn(features: str) -> None:
    spec = {"encoder": "resnet_nano", "encoder_options": {}, "frame_size": 32, "frozen": features}
    model = WorldModel(replace(TINY, **spec, projector_hidden=None))
    frames = model.normalise(torch.rand(40, 3, 32, 32))
    model.encoder.fit(frames)
    z = model.train().encoder(frames)
    torch.testing.assert_close(z.mean(0), torch.zeros(12), atol=1e-3, rtol=0)
    assert z.var(0, correction=0).mean().item() == pytest.approx(1, rel=1e-3)
    assert not any(p.requires_grad for p in model.encoder.parameters())
    assert not model.encoder.training


def test_files_give_the_model_back(tmp_path: Path) -> None:
    model = tiny()
    export_world_model(tmp_path / "world_model", model)
    again = load_world_model(tmp_path)
    assert again.spec == model.spec
    frames = torch.rand(1, 2, 3, 16, 16)
    assert torch.equal(again.encode(frames), model.encode(frames))
    assert again.scale.std.tolist() == [1, 2]


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trained world model"):
        load_world_model(tmp_path)
    export_world_model(tmp_path, tiny())
    (tmp_path / "model.safetensors").write_bytes(b"x" * 64)
    with pytest.raises(UserError, match="damaged"):
        load_world_model(tmp_path)
    (tmp_path / "config.json").write_text('{"encoder": "x"}')
    with pytest.raises(UserError, match="not a world model's"):
        load_world_model(tmp_path)


def test_presets_by_name() -> None:
    for name in PRESETS:
        assert preset(name) is PRESETS[name]
    with pytest.raises(UserError, match="lewm-micro"):
        preset("lewm-mikro")
    with pytest.raises(UserError, match="resnet_nano"):
        tiny(encoder="resnet_nanno")
