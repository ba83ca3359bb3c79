"""What keeps embeddings from collapsing, by name: one protocol, the same in every loss."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol, get_args, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from isojepa.normality.univariate import epps_pulley_floor
from isojepa.objective.decoupled import decoupled_floor
from isojepa.objective.directions import Directions
from isojepa.objective.exact import EXACT_FLOOR
from isojepa.objective.sigreg import Scale, SIGReg
from isojepa.objective.stein import SteinDiscrepancy
from isojepa.objective.vicreg import VICReg
from isojepa.objective.visreg import VISReg

RegulariserName = Literal["sigreg", "exact", "decoupled", "visreg", "vicreg", "ksd"]
TITLES: Mapping[str, str] = MappingProxyType({
    "sigreg": "SIGReg",
    "exact": "SIGReg in closed form",
    "decoupled": "decoupled SIGReg",
    "visreg": "VISReg",
    "vicreg": "VICReg's variance and covariance",
    "ksd": "kernel Stein discrepancy",
})  # fmt: skip
"""In words."""
SHORT: Mapping[str, str] = MappingProxyType(
    {**TITLES, "exact": "SIGReg", "decoupled": "SIGReg", "vicreg": "VICReg", "ksd": "KSD"}
)
"""For a line of numbers."""
WEIGHTS: Mapping[str, float] = MappingProxyType({
    "sigreg": 0.05, "exact": 0.05, "decoupled": 0.05, "visreg": 0.6, "vicreg": 0.3, "ksd": 0.01,
})  # fmt: skip
"""Lambda in (1 - lambda) invariance + lambda regulariser, if nothing else is said.

LeJEPA's for SIGReg, VISReg's for small sets, VICReg's 25, 25 and 1 for two views."""
TESTS = frozenset({"sigreg", "exact"})
"""Those whose value is SIGReg's own, from its floor to 0.4 n at a point."""


def floor_of(name: str, knots: int = 17, t_max: float = 3.0) -> float:
    """What a regulariser is at perfect Gaussianity; NaN if it depends on n or d, or is unknown."""
    return {
        "sigreg": epps_pulley_floor(knots, t_max),
        "exact": EXACT_FLOOR,
        "decoupled": decoupled_floor("epps_pulley", knots, t_max),
        "ksd": SteinDiscrepancy.floor,
    }.get(name, float("nan"))


@runtime_checkable
class Regulariser(Protocol):
    """A loss of embeddings that forbids their collapse; the value is that of the global batch."""

    floor: float
    """Expectation at perfect Gaussianity; NaN if it depends on n or d."""

    def __call__(
        self, z: Float[Tensor, "... n d"], *, step: int | None = None
    ) -> Float[Tensor, ""]:
        """(..., n, d) -> (); leading axes are separate samples, `step` keys what is drawn."""
        ...


def make_regulariser(
    name: RegulariserName,
    *,
    slices: int = 1024,
    knots: int = 17,
    t_max: float = 3.0,
    seed: int = 0,
    directions: Directions = "random",
    scale: Scale = "joint",
) -> nn.Module:
    """The regulariser of that name, a `Regulariser`.

    Args:
        slices, seed: of those that work along random directions: sigreg, decoupled, visreg.
        knots, t_max, directions, scale: of SIGReg.

    Raises:
        ValueError: for another name, or settings that SIGReg refuses.
    """
    if name not in get_args(RegulariserName):
        raise ValueError(f"regulariser must be one of {get_args(RegulariserName)}, got {name!r}")
    if name == "ksd":
        return SteinDiscrepancy()
    if name == "vicreg":
        return VICReg()
    if name == "visreg":
        return VISReg(slices, seed)
    if name == "exact":
        directions = "exact"
    if name == "decoupled":
        scale = "decoupled"
    return SIGReg(slices, knots, t_max, seed, directions=directions, scale=scale)
