"""First and second moments, as a covariance matrix or, with fewer rows than columns, as the rows.

Sums over blocks are shifted by the first block's mean, so that nothing cancels. A covariance of d
columns takes d^2 numbers; n < d rows say as much in n d, and its eigenvectors follow from their
Gram matrix of n^2.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Eigen(NamedTuple):
    """Eigenvalues, largest first, none below 0, and as many eigenvectors as can differ from 0."""

    values: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "d r"]


@dataclass(frozen=True)
class Moments:
    """First and second moments of n rows, float64."""

    n: int
    mean: Float[np.ndarray, " d"]
    covariance: Float[np.ndarray, "d d"] | None
    """With divisor n - 1; None where the rows are kept instead."""
    rows: Float[np.ndarray, "n d"] | None = None
    """The rows themselves, if there are at most as many as columns."""

    @staticmethod
    def of(rows: Float[np.ndarray, "n d"]) -> "Moments":
        """Of rows in memory."""
        sums = Sums(*rows.shape)
        sums.add(rows)
        return sums.moments()

    @property
    def d(self) -> int:
        return len(self.mean)

    def variances(self) -> Float[np.ndarray, " d"]:
        """Of each column, with divisor n - 1."""
        if self.rows is not None:
            return self.rows.var(0, ddof=1)
        assert self.covariance is not None
        return np.diag(self.covariance)

    @cached_property
    def eigen(self) -> Eigen:
        """Of the covariance."""
        if self.rows is not None:
            return _from_rows((self.rows - self.mean) / np.sqrt(self.n - 1))
        assert self.covariance is not None
        values, axes = np.linalg.eigh(self.covariance)
        return Eigen(values[::-1].clip(min=0), axes[:, ::-1])

    @cached_property
    def second(self) -> Float[np.ndarray, " d"]:
        """Eigenvalues of the second moments around 0, with divisor n."""
        if self.rows is not None:
            return _from_rows(self.rows / np.sqrt(self.n)).values
        assert self.covariance is not None
        second = self.covariance * (self.n - 1) / self.n + np.outer(self.mean, self.mean)
        return np.linalg.eigvalsh(second)[::-1].clip(min=0)

    def without(self, rows: Float[np.ndarray, "r d"]) -> "Moments":
        """The moments of the other rows, if `rows` are some of these; at least 2 must remain."""
        if self.rows is not None:
            apart = {row.tobytes() for row in rows.astype(np.float64)}
            return Moments.of(self.rows[[row.tobytes() not in apart for row in self.rows]])
        assert self.covariance is not None
        n = self.n - len(rows)
        centred = rows.astype(np.float64) - self.mean
        shift = -centred.sum(0) / n
        total = (self.n - 1) * self.covariance - centred.T @ centred - n * np.outer(shift, shift)
        return Moments(n, self.mean + shift, total / (n - 1))


class Part(NamedTuple):
    """What some rows add to the sums."""

    n: int
    rows: Float[np.ndarray, "... d"]
    """Their sum, or the rows themselves where these are kept."""
    product: Float[np.ndarray, "d d"] | None


class Sums:
    """Collects rows, at most `n` of them, into moments."""

    def __init__(self, n: int, d: int) -> None:
        self._wide = n <= d
        self._rows: list[np.ndarray] = []
        self._shift: np.ndarray | None = None
        self._n, self._total = 0, np.zeros(d)
        self._product = np.zeros((0, 0) if self._wide else (d, d))

    def add(self, rows: Float[np.ndarray, "b d"]) -> None:
        """Count these rows too."""
        self.begin(rows)
        self.take(self.part(rows))

    @property
    def shifted(self) -> bool:
        """Whether the first rows were seen."""
        return self._shift is not None

    def begin(self, rows: Float[np.ndarray, "b d"]) -> None:
        """Shift by the mean of the first rows, which these are."""
        if self._shift is None:
            self._shift = rows.mean(0, dtype=np.float64)

    def part(self, rows: Float[np.ndarray, "b d"]) -> "Part":
        """What `take` adds, of some rows; a function of them once there is a shift."""
        if self._wide:
            return Part(len(rows), rows.astype(np.float64), None)
        centred = rows - self._shift  # float64
        return Part(len(rows), centred.sum(0), centred.T @ centred)

    def take(self, part: "Part") -> None:
        """Count the rows of a part."""
        self._n += part.n
        if part.product is None:
            self._rows.append(part.rows)
            return
        self._total += part.rows
        self._product += part.product

    def moments(self) -> Moments:
        """Of all rows counted, at least 2."""
        if self._wide:
            rows = np.concatenate(self._rows)
            return Moments(len(rows), rows.mean(0), None, rows)
        assert self._shift is not None
        offset = self._total / self._n
        covariance = (self._product - self._n * np.outer(offset, offset)) / (self._n - 1)
        return Moments(self._n, self._shift + offset, covariance)


def _from_rows(x: Float[np.ndarray, "n d"]) -> Eigen:
    """Of x^T x, by way of x x^T."""
    n, d = x.shape
    values, left = np.linalg.eigh(x @ x.T)
    values, left = values[::-1].clip(min=0), left[:, ::-1]
    lengths = np.sqrt(values)
    real = lengths > 1e-7 * max(lengths[0], np.finfo(float).tiny)  # rounding decides below
    axes = x.T @ (left[:, real] / lengths[real])
    return Eigen(np.pad(np.where(real, values, 0.0), (0, d - n)), axes)
