"""Synthetic embeddings, one law for each verdict."""

from collections.abc import Callable

import numpy as np

from isojepa.embeddings.measurement import Measurement, measure
from isojepa.embeddings.samples import from_array
from isojepa.embeddings.verdict import judge_samples
from isojepa.theme.findings import Verdict

Draw = Callable[[np.random.Generator, int, int], np.ndarray]


def gaussian(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return rng.standard_normal((n, d))


def point(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """All rows within a thousandth of one point away from the origin."""
    return 3 + 1e-3 * rng.standard_normal((n, d))


def tiny(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """As SIGReg would have it, but for a standard deviation of 0.02."""
    return 0.02 * rng.standard_normal((n, d))


def copies(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Half of the dimensions repeat the others, seen from a random angle."""
    half = rng.standard_normal((n, d // 2))
    return np.concatenate([half, half], 1) @ rotation(rng, d)


def anisotropic(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Condition number 16, along no axis in particular."""
    return rng.standard_normal((n, d)) * np.geomspace(2, 0.5, d) @ rotation(rng, d)


def shifted(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """A mean of length 1."""
    return rng.standard_normal((n, d)) + 1 / np.sqrt(d)


def student(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Multivariate Student t of 5 degrees of freedom and covariance I."""
    return rng.standard_normal((n, d)) * np.sqrt(3 / rng.chisquare(5, (n, 1)))


def laplace(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Independent Laplace coordinates of variance 1."""
    return rng.laplace(size=(n, d)) / np.sqrt(2)


def clusters(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Eight spheres of deviation 1 around points at distance 6 from the origin."""
    centres = rng.standard_normal((8, d))
    centres *= 6 / np.linalg.norm(centres, axis=1, keepdims=True)
    return (centres - centres.mean(0))[rng.integers(8, size=n)] + rng.standard_normal((n, d))


def outliers(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Three rows far out, one of them by a single number."""
    x = rng.standard_normal((n, d))
    x[OUTLIERS[0], 1] = 30
    x[OUTLIERS[1:]] *= 12
    return x


OUTLIERS = [17, 5, 101]


def repeated(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """One row in five is a copy of another."""
    x = rng.standard_normal((n, d))
    x[n // 2 : n // 2 + n // 5] = x[: n // 5]
    return x


def lopsided(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Independent exponential coordinates."""
    return rng.exponential(size=(n, d)) - 1


def cube(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    """Uniform, of variance 1."""
    return np.sqrt(12) * (rng.random((n, d)) - 0.5)


def small_scale(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    return 0.6 * rng.standard_normal((n, d))


def rotation(rng: np.random.Generator, d: int) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((d, d)))[0]


def diagnose(x: np.ndarray, **options: object) -> tuple[Measurement, Verdict]:
    """With fewer null samples than the command line takes, to save time."""
    measurement = measure(from_array(x.astype(np.float32)), **({"n_null": 99} | options))
    return measurement, judge_samples(measurement)
