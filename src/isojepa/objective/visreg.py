"""VISReg: centre and scale of each dimension apart from the shape of random directions.

Wu, Balestriero and Levine, arXiv 2606.02572, with equal weights of the three terms. Written from
the formulas.
"""

from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import sum_over_ranks
from isojepa.objective.decoupled import quantiles_by_rank, slice_moments
from isojepa.objective.directions import Sketched, draw_directions

EPSILON = 1e-4
"""Added to the standard deviations by which the shape is divided."""


def variance_sketching(
    z: Float[Tensor, "... n d"], directions: Float[Tensor, "d m"], *, same: tuple | None = None
) -> Float[Tensor, ""]:
    """mean_j (mean_j^2 + (1 - std_j)^2) + the sliced distance of what is standardised to N(0, I).

    The last is the squared Wasserstein distance along each direction to the normal quantiles at
    i / (n + 1), per sample, of embeddings centred and divided by their standard deviations, which
    count as constants. Equations 1, 2, 5 and 6 of the paper; std with divisor n.

    Args:
        z: embeddings; axis -2 holds this rank's n samples, leading axes are separate samples.
        directions: unit columns.
        same: see `isojepa.distributed.sum_over_ranks`.
    """
    moments = slice_moments(z, same)
    centre, scale = moments.mean.square().mean(), (1 - moments.std).square().mean()
    divisor = (moments.std.detach() + EPSILON).unsqueeze(-2)
    y = (moments.centred - (moments.mean - moments.mean.detach()).unsqueeze(-2)) / divisor
    gaps = (y @ directions - quantiles_by_rank(y.detach(), directions)).square()
    shape = sum_over_ranks(gaps.sum(-2)).mean() / moments.n
    return centre + scale + shape


class VISReg(Sketched):
    """Variance and sketching regularisation: a pull at collapse that does not vanish.

    Args:
        slices: number of random directions per call.
        seed: of the directions, which are a function of (seed, step); without a step, of a counter
            that calls in training mode advance, as in `SIGReg`.

    Shape:
        (..., n, d) -> (); leading axes (views, time steps) are separate samples whose values are
        averaged. In float32 at least, over the samples of all ranks.
    """

    floor = float("nan")
    """Its value at perfect Gaussianity depends on n: the sorted samples scatter."""

    def __init__(self, slices: int = 1024, seed: int = 0) -> None:
        super().__init__(slices, seed)

    def _value(self, z: Float[Tensor, "... n d"], step: int) -> Float[Tensor, ""]:
        directions = draw_directions("random", z, self.slices, seed=self.seed, step=step)
        same = ("visreg", self.slices, self.seed, step, *z.shape[:-2], z.shape[-1])
        return variance_sketching(z, directions, same=same)
