"""The sums by compiled vector code: cos_sin.cpp, built when the package is installed.

Importing this module raises ImportError where there was no compiler then. The library has a plain
C interface and takes pointers to contiguous arrays.
"""

import ctypes

import torch
from jaxtyping import Float
from torch import Tensor

from isojepa.kernels.compiled import load_compiled
from isojepa.kernels.threads import parallel

VERSION = 1
"""Of the C interface; a library left behind by an older installation has another."""
SERIAL = 32_768
"""Elements below which a second thread costs more than it brings."""

_POINTER, _LONG, _INT, _DOUBLE = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_double
_PROBLEM = (_POINTER, _LONG, _LONG, _LONG, _INT, _DOUBLE)  # x, batches, n, m, knots, step
_NAME = {torch.float32: "float32", torch.float64: "float64"}


def sums(
    x: Float[Tensor, "... n m"], knots: int, step: float
) -> tuple[Float[Tensor, "... m k"], Float[Tensor, "... m k"]]:
    """Sums over the n samples of cos(t x) and sin(t x) at t = 0, step, ..., (knots - 1) step."""
    x = x.detach().contiguous()
    cos_sums = x.new_empty((*x.shape[:-2], x.shape[-1], knots))
    sin_sums = torch.empty_like(cos_sums)
    _call("sums", x, knots, step, cos_sums, sin_sums)
    return cos_sums, sin_sums


def gradient(
    x: Float[Tensor, "... n m"],
    grad_cos: Float[Tensor, "... m k"],
    grad_sin: Float[Tensor, "... m k"],
    step: float,
) -> Float[Tensor, "... n m"]:
    """Gradient in x of the inner product of the sums with `grad_cos` and `grad_sin`."""
    x, grad_cos, grad_sin = (t.detach().contiguous() for t in (x, grad_cos, grad_sin))
    grad_x = torch.empty_like(x)
    _call("gradient", x, grad_cos.shape[-1], step, grad_cos, grad_sin, grad_x)
    return grad_x


def _call(function: str, x: Tensor, knots: int, step: float, *others: Tensor) -> None:
    n, m = x.shape[-2:]
    batches = x.shape[:-2].numel()
    threads = 1 if x.numel() < SERIAL else torch.get_num_threads()
    pointers = (tensor.data_ptr() for tensor in others)
    call = _FUNCTIONS[function, x.dtype]
    call(x.data_ptr(), batches, n, m, knots, step, *pointers, threads, parallel())


def _declare(library: ctypes.CDLL, function: str, pointers: int) -> dict:
    declared = {}
    for dtype, name in _NAME.items():
        call = getattr(library, f"isojepa_{function}_{name}")
        call.argtypes = (*_PROBLEM, *([_POINTER] * pointers), _INT, _POINTER)
        call.restype = None
        declared[function, dtype] = call
    return declared


_library = load_compiled("isojepa.kernels._cos_sin", VERSION)
_FUNCTIONS = {**_declare(_library, "sums", 2), **_declare(_library, "gradient", 3)}
