"""isojepa: representations that are isotropic Gaussian, learnt from unlabelled data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isojepa.models.encoder import load_encoder
    from isojepa.objective.lejepa import LeJEPALoss
    from isojepa.objective.sigreg import SIGReg
    from isojepa.training.config import PretrainConfig
    from isojepa.workflow import pretrain

__version__ = "0.1.0"
__all__ = ["LeJEPALoss", "PretrainConfig", "SIGReg", "load_encoder", "pretrain"]

_HOME = {
    "LeJEPALoss": "isojepa.objective.lejepa",
    "PretrainConfig": "isojepa.training.config",
    "SIGReg": "isojepa.objective.sigreg",
    "load_encoder": "isojepa.models.encoder",
    "pretrain": "isojepa.workflow",
}


def __getattr__(name: str) -> Any:
    """Import on first use: `from isojepa import SIGReg` then needs neither timm nor Bokeh."""
    if name not in _HOME:
        raise AttributeError(f"module 'isojepa' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
