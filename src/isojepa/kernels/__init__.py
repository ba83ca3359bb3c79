"""Characteristic-function sums, fast: every kernel has the reference's signature."""

from isojepa.kernels.recurrence import cos_sin_sums

__all__ = ["cos_sin_sums"]
