"""`python embed.py OUT.npy IMAGE...`: one embedding a row. Needs NumPy alone."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np


def run(embed: Callable[[Any], np.ndarray]) -> None:
    """Embed the files that the command line names."""
    if len(sys.argv) < 3 or not sys.argv[1].endswith(".npy"):
        sys.exit(f"usage: python {sys.argv[0]} OUT.npy IMAGE...")
    np.save(sys.argv[1], np.stack([embed(file) for file in sys.argv[2:]]))
