"""Unlabelled data -> encoder -> scores; its parts by name, for loops of one's own."""

from typing import TYPE_CHECKING

from isojepa.faces import lazily

if TYPE_CHECKING:
    from isojepa.encoders.jepa import JEPA
    from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec, load_encoder
    from isojepa.encoders.modalities.images.views import (
        Views,
        draw_parameters,
        glyph,
        make_views,
        normalise,
        photo,
        small,
    )

__all__ = [
    "JEPA",
    "Encoder",
    "EncoderSpec",
    "Views",
    "draw_parameters",
    "glyph",
    "load_encoder",
    "make_views",
    "normalise",
    "photo",
    "small",
]

_IMAGES = "modalities.images"
__getattr__ = lazily(
    __name__,
    {
        "JEPA": "jepa",
        "Encoder": f"{_IMAGES}.encoder",
        "EncoderSpec": f"{_IMAGES}.encoder",
        "Views": f"{_IMAGES}.views",
        "draw_parameters": f"{_IMAGES}.views",
        "glyph": f"{_IMAGES}.views",
        "load_encoder": f"{_IMAGES}.encoder",
        "make_views": f"{_IMAGES}.views",
        "normalise": f"{_IMAGES}.views",
        "photo": f"{_IMAGES}.views",
        "small": f"{_IMAGES}.views",
    },
)
