"""The threads of compiled code: those of torch, which are awake after a matrix product."""

import ctypes
import os


def parallel() -> int | None:
    """Address of GOMP_parallel in the OpenMP library that torch has loaded for all to see.

    None where there is none to be used: compiled code then starts threads of its own, per call.
    """
    return _parallel


def _torch_parallel() -> int | None:
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
    except (AttributeError, OSError):
        return None


def _forget_parallel() -> None:
    """An OpenMP pool does not survive a fork: calling it in the child would wait for ever."""
    global _parallel
    _parallel = None


_parallel = _torch_parallel()
os.register_at_fork(after_in_child=_forget_parallel)
