"""What statistics do to a sample first: check it, centre and scale it, measure its distances."""

import torch
from jaxtyping import Float
from torch import Tensor


def univariate_sample(x: Float[Tensor, "... n"], at_least: int = 1) -> Float[Tensor, "... n"]:
    """`x` in float32 at least.

    Raises:
        TypeError: if `x` is not floating point.
        ValueError: if the last axis holds fewer than `at_least` samples.
    """
    if not x.is_floating_point():
        raise TypeError(f"a sample must be floating point, got {x.dtype}")
    if x.ndim < 1 or x.shape[-1] < at_least:
        raise ValueError(f"needs (..., n) with n at least {at_least}, got shape {tuple(x.shape)}")
    return x if x.dtype == torch.float64 else x.float()


def multivariate_sample(z: Float[Tensor, "... n d"], at_least: int = 1) -> Float[Tensor, "... n d"]:
    """`z` in float32 at least.

    Raises:
        TypeError: if `z` is not floating point.
        ValueError: if axis -2 holds fewer than `at_least` samples or the last axis is empty.
    """
    if not z.is_floating_point():
        raise TypeError(f"a sample must be floating point, got {z.dtype}")
    if z.ndim < 2 or z.shape[-2] < at_least or z.shape[-1] < 1:
        raise ValueError(
            f"needs (..., n, d) with n at least {at_least}, got shape {tuple(z.shape)}"
        )
    return z if z.dtype == torch.float64 else z.float()


def product(a: Float[Tensor, "... p q"], b: Float[Tensor, "... q r"]) -> Float[Tensor, "... p r"]:
    """a @ b in the precision of its operands, also under autocast."""
    with torch.autocast(a.device.type, enabled=False):
        return a @ b


def at_usual_scale(
    x: Float[Tensor, "..."], axes: tuple[int, ...] = (-2, -1)
) -> Float[Tensor, "..."]:
    """Each sample by a power of two, if its squares would overflow or vanish otherwise.

    What does not depend on the scale does not change by it, to the last bit: a power of two only
    moves the exponent. Samples between 2^-20 and 2^20 stay as they are.

    Args:
        axes: those of one sample.
    """
    largest = x.detach().abs().amax(axes, keepdim=True)
    mantissa, exponent = torch.frexp(largest)
    far = (exponent.abs() > 20) & largest.isfinite() & (largest > 0)
    tiny = torch.finfo(x.dtype).tiny  # 2^-149 has no reciprocal
    return x * torch.where(far, mantissa / largest, 1).clamp(tiny, 1 / tiny)


def standardise(x: Float[Tensor, "... n"], ddof: int = 1) -> Float[Tensor, "... n"]:
    """Subtract the mean and divide by the standard deviation, of divisor n - ddof.

    A constant sample becomes all zeros, with gradient zero.

    Raises:
        ValueError: for fewer than ddof + 1 samples.
    """
    x = at_usual_scale(univariate_sample(x, at_least=ddof + 1), axes=(-1,))
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / (x.shape[-1] - ddof)
    return centred / variance.clamp_min(torch.finfo(x.dtype).tiny).sqrt()


def whiten(z: Float[Tensor, "... n d"]) -> Float[Tensor, "... n d"]:
    """Affine image of `z` with mean 0 and covariance I, of divisor n: the scaled residuals.

    By the Cholesky factor of the covariance, whose gradient exists also when eigenvalues coincide;
    the result differs from that of the inverse square root by a rotation. Directions without
    variance stay without: a ridge of ten roundings of the mean variance keeps the factor finite.

    Raises:
        ValueError: unless n is at least d + 1.
    """
    z = multivariate_sample(z)
    n, d = z.shape[-2:]
    if n <= d:
        raise ValueError(f"whitening needs more samples than dimensions, got n={n}, d={d}")
    z = at_usual_scale(z)
    centred = z - z.mean(-2, keepdim=True)
    covariance = product(centred.mT, centred) / n
    precision = torch.finfo(z.dtype)
    mean_variance = covariance.diagonal(dim1=-2, dim2=-1).mean(-1)
    ridge = 10 * precision.eps * mean_variance + precision.tiny
    factor = torch.linalg.cholesky(
        covariance + ridge[..., None, None] * torch.eye(d, dtype=z.dtype, device=z.device)
    )
    return torch.linalg.solve_triangular(factor, centred.mT, upper=False).mT


def squared_distances(z: Float[Tensor, "... n d"]) -> Float[Tensor, "... n n"]:
    """Squared Euclidean distances between the samples, exactly zero on the diagonal.

    From the Gram matrix of the centred sample, so that a common shift costs no precision.
    """
    centred = z - z.mean(-2, keepdim=True).detach()
    norms = centred.square().sum(-1)
    gram = product(centred, centred.mT)
    distances = (norms.unsqueeze(-1) + norms.unsqueeze(-2) - 2 * gram).clamp_min(0)
    diagonal = torch.eye(z.shape[-2], dtype=torch.bool, device=z.device)
    return distances.masked_fill(diagonal, 0)
