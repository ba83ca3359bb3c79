"""isojepa: representations that are isotropic Gaussian, learnt from unlabelled data."""

from isojepa.objective.lejepa import LeJEPALoss
from isojepa.objective.sigreg import SIGReg

__version__ = "0.1.0"
__all__ = ["LeJEPALoss", "SIGReg"]
