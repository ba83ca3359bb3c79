"""What a set of embeddings says about itself without labels: functions of its spectrum."""

import numpy as np
from jaxtyping import Float


def effective_rank(x: Float[np.ndarray, "n d"], *, centred: bool = True) -> float:
    """Roy and Vetterli's effective rank of the covariance, from 1 (a line) to d (isotropic).

    The exponential of the entropy of the shares of variance along the principal axes; 0 when all
    samples coincide, nan where a number is not finite. Roy and Vetterli, EUSIPCO 2007.

    Args:
        centred: False takes second moments around 0 instead, where SIGReg wants the mean. Samples
            that crowd around any other point then count as one direction, however their remaining
            noise is spread: this is what tells a collapse to a point.
    """
    if not np.isfinite(x).all():
        return float("nan")
    if centred:
        return entropic_rank(covariance_spectrum(x))
    return entropic_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False) ** 2)


def rankme(x: Float[np.ndarray, "n d"]) -> float:
    """RankMe, from 1 to min(n, d): the effective rank of the embedding matrix itself.

    As published, of the singular values, not their squares, and without centring: a mean far from
    0 therefore counts as one dominant direction. Garrido et al., arXiv 2210.02885, equation 1.
    """
    return entropic_rank(np.linalg.svd(x.astype(np.float64), compute_uv=False))


def condition_number(x: Float[np.ndarray, "n d"]) -> float:
    """Largest over smallest eigenvalue of the covariance: 1 if isotropic, inf if a direction died.

    A direction counts as dead when its variance is below the rounding error of float32 features.
    """
    spectrum = covariance_spectrum(x)
    floor = len(spectrum) * np.finfo(np.float32).eps ** 2 * spectrum[0]
    return float(spectrum[0] / spectrum[-1]) if spectrum[-1] > floor else float("inf")


def alpha_req(x: Float[np.ndarray, "n d"]) -> float:
    """Decay exponent a of the covariance spectrum, eigenvalue_i ~ i^-a: 0 if isotropic.

    The least-squares slope of log eigenvalue on log rank over all non-zero eigenvalues; nan with
    fewer than two of them. Agrawal et al., "alpha-ReQ", NeurIPS 2022.
    """
    spectrum = covariance_spectrum(x)
    spectrum = spectrum[spectrum > len(spectrum) * np.finfo(np.float32).eps ** 2 * spectrum[0]]
    if len(spectrum) < 2:
        return float("nan")
    slope, _ = np.polyfit(np.log(np.arange(1, len(spectrum) + 1)), np.log(spectrum), 1)
    return float(-slope)


def lidar(views: Float[np.ndarray, "v n d"], *, ridge: float = 1e-4) -> float:
    """LiDAR, from 1 to min(n - 1, d): how many directions tell samples apart from their own views.

    The effective rank of W^-1/2 B W^-1/2, of the covariance B of the samples' means and the mean
    covariance W of each sample's views, plus `ridge` times the identity: linear discriminant
    analysis with every sample as a class. Thilak et al., arXiv 2312.04000, equations 1 to 4.

    Args:
        views: embeddings of at least two views of each of at least two samples.

    Raises:
        ValueError: for fewer.
    """
    v, n, d = views.shape
    if v < 2 or n < 2:
        raise ValueError(f"LiDAR needs two views of two samples, got {v} of {n}")
    x = views.astype(np.float64)
    means = x.mean(0)
    apart = (x - means).reshape(-1, d)
    within = apart.T @ apart / (n * (v - 1)) + ridge * np.eye(d)
    centred = means - means.mean(0)
    # The eigenvalues of W^-1/2 B W^-1/2 are the squared singular values of means W^-1/2
    factor = np.linalg.cholesky(within)
    whitened = np.linalg.solve(factor, centred.T)
    return entropic_rank(np.linalg.svd(whitened, compute_uv=False) ** 2)


def covariance_spectrum(x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Eigenvalues of the covariance of the samples, largest first, none below 0."""
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    n, d = x.shape
    if n >= d:
        return np.linalg.eigvalsh(centred.T @ centred / n)[::-1].clip(min=0)
    values = np.linalg.eigvalsh(centred @ centred.T / n)[::-1].clip(min=0)  # the others are 0
    return np.pad(values, (0, d - n))


def entropic_rank(values: Float[np.ndarray, " k"]) -> float:
    """exp of the entropy of the normalised values: how many of them matter; 0 if all are 0."""
    total = values.sum()
    if total == 0:
        return 0.0
    shares = values / total
    shares = shares[shares > 0]  # after dividing: tiny values may underflow
    return float(np.exp(-np.sum(shares * np.log(shares))))
