"""The platform's LeWM with random weights, of any size."""

from typing import Any

import torch
from torch import nn


def platform_lewm(
    *,
    frame_size: int = 28,
    patch: int = 14,
    d: int = 24,
    encoder_depth: int = 2,
    encoder_heads: int = 3,
    depth: int = 2,
    heads: int = 2,
    head_width: int = 8,
    mlp: int = 40,
    hidden: int = 32,
    history: int = 3,
    action_dim: int = 10,
    width: int | None = None,
    dropout: float = 0.1,
) -> Any:
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=d,
        num_hidden_layers=encoder_depth,
        num_attention_heads=encoder_heads,
        intermediate_size=4 * d,
        image_size=frame_size,
        patch_size=patch,
    )
    predictor = Predictor(
        num_frames=history,
        depth=depth,
        heads=heads,
        mlp_dim=mlp,
        input_dim=d,
        hidden_dim=width or d,
        output_dim=d,
        dim_head=head_width,
        dropout=dropout,
    )
    model = LeWM(
        ViTModel(config, add_pooling_layer=False),
        predictor,
        Embedder(action_dim, action_dim, d),
        MLP(d, hidden, d, norm_fn=nn.BatchNorm1d),
        MLP(d, hidden, d, norm_fn=nn.BatchNorm1d),
    )
    return model.eval()


def shake(model: nn.Module, seed: int = 0) -> None:
    """Give every weight and statistic a value of its own, so that none goes unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, x in model.state_dict().items():
            if name.endswith("running_var"):
                x.copy_(0.5 + torch.rand(x.shape, generator=generator))
            elif x.is_floating_point():
                x.add_(0.1 * torch.randn(x.shape, generator=generator))
