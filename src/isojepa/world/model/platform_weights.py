"""To and from the weights of the `stable-worldmodel` platform's LeWM.

Only names differ. The frame encoder there is a Hugging Face ViT, whose names changed with version
5 of `transformers`; both are read, and either is written.
"""

import logging
import re
from typing import Any, Literal

import torch
from torch import Tensor

from isojepa.errors import UserError
from isojepa.world.model.checkpoint_names import Nested, weights_within
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)

# (ours, theirs); {} stands for a number. The encoder's come in two versions.
NAMES = [
    ("projector.", "projector.net."),
    ("predictor_projector.", "pred_proj.net."),
    ("action_encoder.mix.", "action_encoder.patch_embed."),
    ("action_encoder.mlp.", "action_encoder.embed."),
    ("predictor.positions", "predictor.pos_embedding"),
    ("predictor.norm.", "predictor.transformer.norm."),
    ("predictor.enter.", "predictor.transformer.input_proj."),
    ("predictor.enter_condition.", "predictor.transformer.cond_proj."),
    ("predictor.leave.", "predictor.transformer.output_proj."),
    ("predictor.blocks.{}.attention.norm.", "predictor.transformer.layers.{}.attn.norm."),
    ("predictor.blocks.{}.attention.qkv.", "predictor.transformer.layers.{}.attn.to_qkv."),
    ("predictor.blocks.{}.attention.out.", "predictor.transformer.layers.{}.attn.to_out.0."),
    ("predictor.blocks.{}.mlp.", "predictor.transformer.layers.{}.mlp.net."),
    ("predictor.blocks.{}.modulation.", "predictor.transformer.layers.{}.adaLN_modulation.1."),
    ("encoder.backbone.cls_token", "encoder.embeddings.cls_token"),
    ("encoder.backbone.pos_embed", "encoder.embeddings.position_embeddings"),
    ("encoder.backbone.patch_embed.proj.", "encoder.embeddings.patch_embeddings.projection."),
    ("encoder.backbone.norm.", "encoder.layernorm."),
]
USUAL_HEAD = 64  # width of an attention head, of predictor and encoder, as published
Layout = Literal["transformers-5", "transformers-4"]
BLOCK = {
    "transformers-5": [
        ("norm1.", "layernorm_before."),
        ("norm2.", "layernorm_after."),
        ("attn.q.", "attention.q_proj."),
        ("attn.k.", "attention.k_proj."),
        ("attn.v.", "attention.v_proj."),
        ("attn.proj.", "attention.o_proj."),
        ("mlp.fc1.", "mlp.fc1."),
        ("mlp.fc2.", "mlp.fc2."),
    ],
    "transformers-4": [
        ("norm1.", "layernorm_before."),
        ("norm2.", "layernorm_after."),
        ("attn.q.", "attention.attention.query."),
        ("attn.k.", "attention.attention.key."),
        ("attn.v.", "attention.attention.value."),
        ("attn.proj.", "attention.output.dense."),
        ("mlp.fc1.", "intermediate.dense."),
        ("mlp.fc2.", "output.dense."),
    ],
}
PREFIX = {"transformers-5": "encoder.layers.{}.", "transformers-4": "encoder.encoder.layer.{}."}


def export_platform_weights(
    model: WorldModel, layout: Layout = "transformers-5"
) -> dict[str, Tensor]:
    """The state dict that the platform's LeWM of the same sizes loads.

    Args:
        layout: names of the Hugging Face ViT; the released checkpoints have those of version 4.

    Raises:
        UserError: if the encoder is not `lewm_vit`: the platform's LeWM knows no other.
    """
    if model.spec.encoder != "lewm_vit" or model.spec.frozen:
        raise UserError(
            f"the platform's LeWM has a vision transformer, not {model.spec.encoder}: give it the "
            "model itself, through as_platform_model"
        )
    state: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        if ".attn.qkv." in name:
            for part, x in zip("qkv", value.chunk(3)):
                state[name.replace(".qkv.", f".{part}.")] = x
        else:
            state[name] = value
    names = _names(layout)
    state = {_renamed(name, names): value.clone() for name, value in state.items()}
    mix = "action_encoder.patch_embed.weight"
    if mix in state:
        state[mix] = state[mix].unsqueeze(-1)  # theirs is a convolution of one tap
    return state


def load_platform_weights(
    state: Nested,
    *,
    prefix: str | None = None,
    frame_skip: int = 5,
    head_width: int | None = None,
    encoder_heads: int | None = None,
    action_mean: tuple[float, ...] = (),
    action_std: tuple[float, ...] = (),
) -> WorldModel:
    """Our model with the weights of a state dict of the platform's LeWM, in eval mode.

    Sizes are read off the weights; what they do not show are arguments. **How many heads attend is
    not shown**: heads of 64, as published, are assumed with a line in the log, and other ones give
    other outputs without an error, unless the widths cannot be divided so.

    Args:
        state: as saved by the platform, by the authors' code or by a trainer around them; wrappers'
            names and what is not the model's are taken off, see `checkpoint_names.py`.
        prefix: of the model's names, where there are several models in `state`.
        head_width: width of the predictor's attention heads; by default 64.
        encoder_heads: by default the encoder's width over 64, as in ViT-Tiny.
        action_mean, action_std: of the environment's actions; the platform keeps them elsewhere.

    Raises:
        UserError: if a weight is missing, unknown or of an unexpected shape, or if widths cannot be
            divided into the heads.
    """
    state = weights_within(state, prefix)
    layout: Layout = "transformers-4"
    if any(name.startswith("encoder.layers.") for name in state):
        layout = "transformers-5"
    backward = [(theirs, ours) for ours, theirs in _names(layout)]
    ours = {_renamed(name, backward): value for name, value in state.items()}
    try:
        mix = "action_encoder.mix.weight"
        if mix in ours:
            ours[mix] = ours[mix].squeeze(-1)
        for name in [n for n in ours if ".attn.q." in n]:
            parts = [ours.pop(name.replace(".q.", f".{part}.")) for part in "qkv"]
            ours[name.replace(".q.", ".qkv.")] = torch.cat(parts)
        spec = _spec(ours, frame_skip, head_width, encoder_heads, action_mean, action_std)
    except KeyError as error:
        raise UserError(f"not the weights of a LeWM: {error} is missing") from error
    model = WorldModel(spec)
    try:
        model.load_state_dict(ours)
    except RuntimeError as error:
        raise UserError(f"not the weights of a LeWM: {error}") from error
    return model.eval()


def from_platform(model: Any, **settings: Any) -> WorldModel:
    """Our model with the sizes and weights of a LeWM of the platform; `load_platform_weights`'s
    arguments may be given, so that our planners can plan with it."""
    attention = model.predictor.transformer.layers[0].attn
    settings.setdefault("head_width", attention.to_qkv.out_features // 3 // attention.heads)
    settings.setdefault("encoder_heads", model.encoder.config.num_attention_heads)
    return load_platform_weights(model.state_dict(), **settings)


def _names(layout: Layout) -> list[tuple[str, str]]:
    ours, theirs = "encoder.backbone.blocks.{}.", PREFIX[layout]
    return NAMES + [(ours + a, theirs + b) for a, b in BLOCK[layout]]


def _renamed(name: str, names: list[tuple[str, str]]) -> str:
    for old, new in names:
        found = re.match(re.escape(old).replace(r"\{\}", r"(\d+)"), name)
        if found:
            return new.format(*found.groups()) + name[found.end() :]
    return name


def _spec(
    weights: dict[str, Tensor],
    frame_skip: int,
    head_width: int | None,
    encoder_heads: int | None,
    action_mean: tuple[float, ...],
    action_std: tuple[float, ...],
) -> WorldModelSpec:
    def count(pattern: str) -> int:
        return 1 + max(int(m[1]) for name in weights if (m := re.match(pattern, name)))

    patch = weights["encoder.backbone.patch_embed.proj.weight"]
    side = round((weights["encoder.backbone.pos_embed"].shape[1] - 1) ** 0.5)
    _, history, d = weights["predictor.positions"].shape
    qkv = weights["predictor.blocks.0.attention.qkv.weight"]
    heads, encoder_heads = _heads(len(qkv) // 3, head_width, patch.shape[0], encoder_heads)
    mix = weights.get("action_encoder.mix.weight")
    hidden = weights.get("projector.0.weight")
    return WorldModelSpec(
        encoder="lewm_vit",
        encoder_options={
            "patch_size": patch.shape[-1],
            "embed_dim": patch.shape[0],
            "depth": count(r"encoder\.backbone\.blocks\.(\d+)"),
            "num_heads": encoder_heads,
        },
        frame_size=side * patch.shape[-1],
        embedding_dim=d,
        projector_hidden=None if hidden is None else len(hidden),
        history=history,
        width=qkv.shape[1],
        depth=count(r"predictor\.blocks\.(\d+)"),
        heads=heads,
        head_width=len(qkv) // 3 // heads,
        mlp=len(weights["predictor.blocks.0.mlp.1.weight"]),
        dropout=0.1,
        frame_skip=frame_skip,
        action_dim=0 if mix is None else len(mix),
        action_mean=action_mean,
        action_std=action_std,
    )


def _heads(
    attention: int, head_width: int | None, encoder: int, encoder_heads: int | None
) -> tuple[int, int]:
    """Heads of the predictor, whose attention has that width in all, and of the encoder."""
    width = USUAL_HEAD if head_width is None else head_width
    if width < 1 or attention % width:
        raise UserError(
            f"head_width {width} does not divide the predictor's attention, {attention} wide; give "
            "the width it was trained with"
        )
    heads = max(1, encoder // USUAL_HEAD) if encoder_heads is None else encoder_heads
    if heads < 1 or encoder % heads or (encoder_heads is None and encoder % USUAL_HEAD):
        raise UserError(
            f"encoder_heads {heads}: the encoder, {encoder} wide, "
            + ("has not so many heads" if encoder_heads else f"has not heads of {USUAL_HEAD}")
            + "; give the number it was trained with"
        )
    if head_width is None or encoder_heads is None:
        log.info(
            "heads of %d are assumed (predictor %d, encoder %d): the weights do not tell; give "
            "head_width and encoder_heads if others were trained",
            *(USUAL_HEAD, attention // width, heads),
        )
    return attention // width, heads
