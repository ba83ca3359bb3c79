"""The names of classes in the parts of a split, compared: other spellings, classes of one side."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from isojepa.encoders.sources.listing import quoted
from isojepa.encoders.sources.roles import Kind

Named = Iterable[tuple[str, Kind | None]]
"""Class and part of each folder that has a class."""


def one_spelling(named: Named) -> tuple[dict[str, str], list[str]]:
    """The name to take for one that the parts spell otherwise, in letter case or accents' code.

    Returns:
        Instead of which name which other; and what a user should know of it, a line each.
    """
    spellings: dict[str, dict[str, set[Kind | None]]] = defaultdict(lambda: defaultdict(set))
    for name, part in named:
        spellings[unicodedata.normalize("NFC", name).casefold()][name].add(part)
    instead: dict[str, str] = {}
    notes = []
    for found in spellings.values():
        if len(found) < 2:
            continue
        parts = list(found.values())
        if sum(map(len, parts)) == len(set.union(*parts)):
            first = min(found, key=lambda name: ("train" not in found[name], name))
            instead |= dict.fromkeys(found, first)
            notes.append(f"{names_of(found)}: spelt otherwise in train and test; one class")
        else:
            notes.append(f"{names_of(found)}: taken for {len(found)} classes")
    return instead, notes


def one_sided(named: Named) -> Iterator[str]:
    """What to say of the classes that only one side of the split has."""
    named = list(named)
    train, test = ({name for name, part in named if part == side} for side in ("train", "test"))
    if not train or not test:
        return
    for names, folder, so in (
        (test - train, "test", "no score can get right"),
        (train - test, "training", "no score tests"),
    ):
        if names:
            classes = f"{len(names)} class{'es' if len(names) != 1 else ''}"
            yield f"{names_of(names)}: {classes} in the {folder} folder only, which {so}"


def names_of(names: Iterable[str]) -> str:
    """The first few names in alphabetical order, in quotes."""
    return quoted(sorted(names), 5)
