"""isojepa: representations that are isotropic Gaussian, learnt from unlabelled data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isojepa.encoders.config import PretrainConfig
    from isojepa.encoders.modalities.images.encoder import load_encoder
    from isojepa.objective.accumulation import backward_in_parts
    from isojepa.objective.exact import exact_sigreg
    from isojepa.objective.lejepa import LeJEPALoss
    from isojepa.objective.sigreg import SIGReg
    from isojepa.workflow import pretrain

__version__ = "0.1.0"
__all__ = [
    "LeJEPALoss",
    "PretrainConfig",
    "SIGReg",
    "backward_in_parts",
    "exact_sigreg",
    "load_encoder",
    "pretrain",
]

_HOME = {
    "LeJEPALoss": "isojepa.objective.lejepa",
    "PretrainConfig": "isojepa.encoders.config",
    "SIGReg": "isojepa.objective.sigreg",
    "backward_in_parts": "isojepa.objective.accumulation",
    "exact_sigreg": "isojepa.objective.exact",
    "load_encoder": "isojepa.encoders.modalities.images.encoder",
    "pretrain": "isojepa.workflow",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `from isojepa import SIGReg` then needs neither timm nor Bokeh."""
    if name not in _HOME:
        raise AttributeError(f"module 'isojepa' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
