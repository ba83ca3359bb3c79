"""isojepa: representations that are isotropic Gaussian, learnt from unlabelled data."""

from typing import TYPE_CHECKING

from isojepa.faces import lazily
from isojepa.version import __version__ as __version__

if TYPE_CHECKING:
    from isojepa.encoders.config import PretrainConfig
    from isojepa.encoders.embed import EmbedConfig, embed
    from isojepa.encoders.evaluation.evaluate import EvaluateConfig, evaluate
    from isojepa.encoders.modalities.stored import load_encoder
    from isojepa.objective.accumulation import backward_in_parts
    from isojepa.objective.exact import exact_sigreg
    from isojepa.objective.lejepa import LeJEPALoss
    from isojepa.objective.lewm import LeWMLoss
    from isojepa.objective.sigreg import SIGReg
    from isojepa.pages.embeddings.diagnosis import Diagnosis, diagnose
    from isojepa.workflow import pretrain

__all__ = [
    "Diagnosis",
    "EmbedConfig",
    "EvaluateConfig",
    "LeJEPALoss",
    "LeWMLoss",
    "PretrainConfig",
    "SIGReg",
    "backward_in_parts",
    "diagnose",
    "embed",
    "evaluate",
    "exact_sigreg",
    "load_encoder",
    "pretrain",
]

__getattr__ = lazily(
    __name__,
    {
        "Diagnosis": "pages.embeddings.diagnosis",
        "EmbedConfig": "encoders.embed",
        "EvaluateConfig": "encoders.evaluation.evaluate",
        "LeJEPALoss": "objective.lejepa",
        "LeWMLoss": "objective.lewm",
        "PretrainConfig": "encoders.config",
        "SIGReg": "objective.sigreg",
        "backward_in_parts": "objective.accumulation",
        "diagnose": "pages.embeddings.diagnosis",
        "embed": "encoders.embed",
        "evaluate": "encoders.evaluation.evaluate",
        "exact_sigreg": "objective.exact",
        "load_encoder": "encoders.modalities.stored",
        "pretrain": "workflow",
    },
)
