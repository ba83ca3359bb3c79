"""Which modalities there are, and which of them a path or an encoder is of."""

from functools import cache
from importlib import import_module

from isojepa.encoders.modalities.modality import UNSAID, Columns, Modality, Network
from isojepa.encoders.sources.addresses import as_address
from isojepa.encoders.sources.inputs import Data, as_sources
from isojepa.machine import quick_imports

MODALITIES = ("series", "tables", "images")
"""The folders beside this file, in the order in which a path is tried on them."""
FIRST = "images"
"""That of runs and encoders that do not say which, and of a path that none recognises."""


def is_known(name: object) -> bool:
    """Whether there is such a modality."""
    return name in MODALITIES


@cache
def modality(name: str) -> Modality:
    """A modality by its name; only then are its files imported."""
    home = f"{__package__}.{name}"
    with quick_imports():
        read, views, network = (import_module(f"{home}.{x}") for x in ("read", "views", "network"))
    return Modality(name, read.READING, views.VIEWING, network.NETWORKS)


def modality_of(data: Data, columns: Columns = UNSAID) -> Modality:
    """The kind of data that a path, or the first of several, is likely to hold."""
    path = as_sources(data)[0]
    if as_address(path):  # of which images alone are read
        return modality(FIRST)
    kinds = (modality(name) for name in MODALITIES)
    return next((kind for kind in kinds if kind.read.recognises(path, columns)), modality(FIRST))


def modality_of_encoder(encoder: Network) -> Modality:
    """The kind of data that an encoder was made for."""
    return modality(getattr(encoder.spec, "modality", FIRST))
