"""Characteristic-function sums, fast: every kernel has the reference's signatures.

A kernel is a module with two functions of plain tensors, without autograd:

    sums(x (..., n, m), knots, step) -> cos (..., m, k), sin (..., m, k)
    gradient(x (..., n, m), grad_cos (..., m, k), grad_sin (..., m, k), step) -> (..., n, m)

for float32 and float64 on its devices. `dispatch` chooses one by device and makes the operator.
"""

from isojepa.kernels.dispatch import chosen_kernel, cos_sin_sums, use_kernel

__all__ = ["chosen_kernel", "cos_sin_sums", "use_kernel"]
