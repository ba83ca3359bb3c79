"""Public names of a package that are imported on first use."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A package's `__getattr__`: importing the package, or one name of it, costs nothing else.

    Args:
        package: the package's name.
        homes: public name -> the module below the package that holds it, and after a colon the
            name that it has there, if another.
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, inner = homes[name].partition(":")
        return getattr(import_module(f"{package}.{module}"), inner or name)

    return get
