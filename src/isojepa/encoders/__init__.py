"""Unlabelled data -> encoder -> scores; its parts by name, for loops of one's own."""

from typing import TYPE_CHECKING

from isojepa.faces import lazily

if TYPE_CHECKING:
    from isojepa.encoders.evaluation.few_shot import few_shot
    from isojepa.encoders.evaluation.knn import knn_probe
    from isojepa.encoders.evaluation.labelled import Labelled
    from isojepa.encoders.evaluation.linear import linear_probe
    from isojepa.encoders.evaluation.results import Scores
    from isojepa.encoders.evaluation.whitening import whitening
    from isojepa.encoders.jepa import JEPA
    from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec
    from isojepa.encoders.modalities.images.normalised import make_views, normalise
    from isojepa.encoders.modalities.images.parameters import draw_parameters
    from isojepa.encoders.modalities.images.recipes import glyph, photo, small
    from isojepa.encoders.modalities.modality import Views
    from isojepa.encoders.modalities.stored import load_encoder

__all__ = [
    "JEPA",
    "Encoder",
    "EncoderSpec",
    "Labelled",
    "Scores",
    "Views",
    "draw_parameters",
    "few_shot",
    "glyph",
    "knn_probe",
    "linear_probe",
    "load_encoder",
    "make_views",
    "normalise",
    "photo",
    "small",
    "whitening",
]

_IMAGES = "modalities.images"
__getattr__ = lazily(
    __name__,
    {
        "JEPA": "jepa",
        "Encoder": f"{_IMAGES}.encoder",
        "EncoderSpec": f"{_IMAGES}.encoder",
        "Labelled": "evaluation.labelled",
        "Scores": "evaluation.results",
        "Views": "modalities.modality",
        "draw_parameters": f"{_IMAGES}.parameters",
        "few_shot": "evaluation.few_shot",
        "glyph": f"{_IMAGES}.recipes",
        "knn_probe": "evaluation.knn",
        "linear_probe": "evaluation.linear",
        "load_encoder": "modalities.stored",
        "make_views": f"{_IMAGES}.normalised",
        "normalise": f"{_IMAGES}.normalised",
        "photo": f"{_IMAGES}.recipes",
        "small": f"{_IMAGES}.recipes",
        "whitening": "evaluation.whitening",
    },
)
