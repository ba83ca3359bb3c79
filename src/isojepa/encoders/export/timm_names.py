"""What builds an encoder's network in plain timm, and what no setting of timm's expresses."""

from typing import Any

import timm
import torch
from timm.data import create_transform, resolve_data_config

from isojepa.backbones.micro import MICRO_NAMES
from isojepa.boundaries import reason
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.errors import UserError

OTHERS = "--format safetensors, onnx and torch-export hold it exactly"
Settings = dict[str, Any]


def constructor_arguments(encoder: Encoder) -> Settings:
    """Arguments of `timm.create_model` that give the network its shapes, its stem apart.

    Raises:
        UserError: if none do.
    """
    spec = encoder.spec
    if spec.model == "custom":
        raise UserError(
            "trained from a module of your own, which timm does not know: "
            "--format onnx or torch-export hold it exactly"
        )
    common = {"num_classes": 0, "in_chans": spec.channels, **spec.options}
    if spec.model in MICRO_NAMES:
        return common
    sized: Settings = {"img_size": spec.image_size}
    why = "its layers have other shapes there"
    for offer in ({**sized, "dynamic_img_size": True}, sized, {}):
        try:
            with torch.device("meta"):
                network = timm.create_model(spec.model, **{**common, **offer})
        except Exception as error:  # a family that knows no such setting; each raises its own
            why = reason(error)
            continue
        if _shapes(network) == _shapes(encoder.backbone):
            return common | offer
    raise UserError(f"{spec.model} cannot be built by timm as it was trained: {why}")


def _shapes(network: torch.nn.Module) -> dict[str, torch.Size]:
    stem = "conv1.weight"  # whose size `EncoderSpec.stem` settles
    return {name: x.shape for name, x in network.state_dict().items() if name != stem}


def timm_config(encoder: Encoder) -> Settings:
    """config.json of a folder that `timm.create_model("local-dir:...", pretrained=True)` loads.

    Raises:
        UserError: if timm's own constructor cannot build the network.
    """
    spec, network = encoder.spec, encoder.backbone
    if spec.model in MICRO_NAMES:
        raise UserError(f"--format timm: {spec.model} is a network of isojepa's; {OTHERS}")
    if spec.stem == "small":
        raise UserError(
            f"--format timm: {spec.model} was trained with a stem for small images (a 3 x 3 "
            f"convolution of stride 1, no pooling), which no setting of timm's builds; {OTHERS}"
        )
    arguments = constructor_arguments(encoder)
    del arguments["num_classes"], arguments["in_chans"]  # timm reads them off pretrained_cfg
    size = [spec.channels, spec.image_size, spec.image_size]
    return {
        "architecture": spec.model.partition(".")[0],
        "num_classes": 0,
        "num_features": int(network.num_features),  # type: ignore[arg-type]
        "model_args": arguments,
        "pretrained_cfg": {
            "tag": "isojepa",
            "custom_load": False,
            "input_size": size,
            "fixed_input_size": arguments.get("img_size") is not None,
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": spec.mean,
            "std": spec.std,
            "num_classes": 0,
            "pool_size": None,
            "first_conv": None,
            "classifier": None,
        },
    }


def timm_transform(config: Settings) -> Any:
    """What timm itself does to a Pillow image, by its `pretrained_cfg`."""
    return create_transform(**resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"]))
