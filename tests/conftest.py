"""Check every shape annotation of the package while the tests run, and keep threads few."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook("isojepa", "beartype.beartype")
