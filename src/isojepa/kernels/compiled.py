"""Compiled libraries beside the code, built when the package is installed."""

import ctypes
import importlib.util


def load_compiled(module: str, version: int) -> ctypes.CDLL:
    """The library that lies where a module of that name would.

    Raises:
        ImportError: where there was no compiler, or an older installation left another behind.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError("no compiler when isojepa was installed")
    library = ctypes.CDLL(spec.origin)
    if getattr(library, f"isojepa{module.rpartition('.')[2]}_version")() != version:
        raise ImportError(f"{spec.origin} is of another version: install isojepa again")
    return library
