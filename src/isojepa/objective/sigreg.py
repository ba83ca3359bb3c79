"""SIGReg: a test of isotropic Gaussianity, averaged over random directions, as a loss."""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.distributed import sum_over_ranks, world_size
from isojepa.kernels import cos_sin_sums
from isojepa.normality.univariate import epps_pulley_floor, epps_pulley_from_sums, trapezoid
from isojepa.objective.decoupled import Shape, decoupled_floor, decoupled_statistic
from isojepa.objective.directions import Directions, Sketched, draw_directions
from isojepa.objective.exact import EXACT_FLOOR, exact_sigreg

Scale = Literal["joint", "decoupled"]
"""Whether one test judges location, scale and shape together, or each is judged apart."""


def sliced_epps_pulley(
    z: Float[Tensor, "... n d"],
    directions: Float[Tensor, "d m"],
    *,
    knots: int = 17,
    t_max: float = 3.0,
    same: tuple | None = None,
) -> Float[Tensor, "... m"]:
    """Epps-Pulley statistic of `z` along each direction, over the samples of all ranks.

    Args:
        z: embeddings; axis -2 holds this rank's n samples, leading axes are separate samples.
        directions: unit columns.
        same: see `isojepa.distributed.sum_over_ranks`.

    Returns:
        One statistic per leading index and direction, the same on every rank.
    """
    x = z @ directions
    cos_sums, sin_sums = cos_sin_sums(x, knots, t_max / (knots - 1))
    rule = trapezoid(knots, t_max, dtype=x.dtype, device=x.device)
    if world_size() == 1:
        return epps_pulley_from_sums(cos_sums, sin_sums, x.shape[-2], rule)
    count = x.new_full((1,), float(x.shape[-2]))
    packed = torch.cat([cos_sums.flatten(), sin_sums.flatten(), count])  # one collective, not three
    packed = sum_over_ranks(packed, same=same)
    cos_sums, sin_sums = packed[:-1].reshape(2, *cos_sums.shape)
    return epps_pulley_from_sums(cos_sums, sin_sums, packed[-1], rule)


class SIGReg(Sketched):
    """Sketched isotropic Gaussian regularisation (LeJEPA, arXiv 2511.08544).

    The mean over random directions of the Epps-Pulley statistic of the projected embeddings:
    n times the weighted squared distance of their characteristic function from the normal one.
    At perfect Gaussianity its expectation is `floor`, about 1.06, not 0.

    Directions are a function of (seed, step). With `step` given, `sigreg(z, step=7)`, they are
    those of that step and the module's own counter is left alone. Without it, in training mode each
    call draws fresh directions and advances the counter `step`; in eval mode the directions stay.
    The counter is kept in the state dict. Computed in float32, or float64 if `z` is,
    also under autocast. Under `torch.distributed` the samples of all ranks count as one batch, in
    unequal numbers or none, and every rank must call equally often.

    Args:
        slices: number of random directions per call, at least 1.
        knots: frequencies on [0, t_max], at least 2.
        t_max: largest frequency, positive, in units of one over a standard deviation.
        seed: non-negative seed of the directions.
        directions: "random", uniform on the sphere; "orthogonal", in orthonormal blocks of d,
            which together miss no direction; "fixed", the random ones of step 0 at every step;
            "exact", all directions in closed form (`exact_sigreg`): slices, knots, t_max and seed
            are then without effect.
        scale: "joint", the plain statistic; "decoupled", n mean^2 + n (1 - std)^2 along each
            direction plus the shape of what is standardised by them, which leaves collapsed
            states at full speed (`isojepa.objective.decoupled`). Its floor is 1.83.
        shape: with decoupled scale, "epps_pulley" or "wasserstein", the squared distance of the
            sorted projections to normal quantiles, whose `floor` is NaN: it grows slowly with n.

    Shape:
        (..., n, d) -> (); leading axes (views, time steps) are separate samples whose statistics
        are averaged.

    Raises:
        ValueError: if an argument is out of range, or `z` has fewer than two axes or no sample.
        RuntimeError: if ranks are out of step, or do not all call.
    """

    floor: float
    """Expectation of the value at perfect Gaussianity."""

    def __init__(
        self,
        slices: int = 1024,
        knots: int = 17,
        t_max: float = 3.0,
        seed: int = 0,
        *,
        directions: Directions = "random",
        scale: Scale = "joint",
        shape: Shape = "epps_pulley",
    ) -> None:
        super().__init__(slices, seed)
        _one_of("directions", directions, Directions)
        _one_of("scale", scale, Scale)
        _one_of("shape", shape, Shape)
        if scale == "decoupled" and directions == "exact":
            raise ValueError("scale='decoupled' works along slices: directions cannot be 'exact'")
        if scale == "joint" and shape != "epps_pulley":
            raise ValueError(f"shape={shape!r} needs scale='decoupled'")
        self.floor = epps_pulley_floor(knots, t_max)
        if scale == "decoupled":
            self.floor = decoupled_floor(shape, knots, t_max)
        elif directions == "exact":
            self.floor = EXACT_FLOOR
        self.knots, self.t_max = knots, t_max
        self.directions, self.scale, self.shape = directions, scale, shape

    def _value(self, z: Float[Tensor, "... n d"], step: int) -> Float[Tensor, ""]:
        if self.directions == "exact":
            return exact_sigreg(z)
        directions = draw_directions(self.directions, z, self.slices, seed=self.seed, step=step)
        same = (self.directions, self.slices, self.seed, step, *z.shape[:-2], z.shape[-1])
        if self.scale == "decoupled":
            return decoupled_statistic(
                z, directions, shape=self.shape, knots=self.knots, t_max=self.t_max, same=same
            ).mean()
        return sliced_epps_pulley(
            z, directions, knots=self.knots, t_max=self.t_max, same=same
        ).mean()

    def extra_repr(self) -> str:
        said = f"slices={self.slices}, knots={self.knots}, t_max={self.t_max}, seed={self.seed}"
        if self.directions == "exact":
            said = ""
        if self.directions != "random":
            said += f"{', ' * bool(said)}directions={self.directions!r}"
        if self.scale == "decoupled":
            said += f", scale='decoupled', shape={self.shape!r}"
        return said


def _one_of(name: str, value: str, allowed: object) -> None:
    if value not in get_args(allowed):
        options = ", ".join(map(repr, get_args(allowed)))
        raise ValueError(f"{name} must be one of {options}, got {value!r}")
