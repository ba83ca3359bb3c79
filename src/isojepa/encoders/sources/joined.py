"""Several listings as one."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from isojepa.boundaries import shown
from isojepa.encoders.sources.folder import Listing, indexed
from isojepa.encoders.sources.held_out import label_names
from isojepa.encoders.sources.items import Joined
from isojepa.encoders.sources.roles import role


def joined(found: Sequence[tuple[Path, Listing]]) -> Listing:
    """One listing of several, each with the place that was named for it.

    Names begin with as much of the place as tells it from the others. Classes of one name are one
    class. A source with a split of its own keeps it; one whose name is that of a test part, beside
    others that are none, is held out.
    """
    prefixes = distinct([path for path, _ in found])
    listings = [listing for _, listing in found]
    labels = [label for listing in listings for label in label_names(listing)]
    notes = [f"{prefix}: {note}" for prefix, x in zip(prefixes, listings) for note in x.notes]
    side_cars: Counter[str] = Counter()
    for listing in listings:
        side_cars.update(dict(listing.side_cars))
    test, said = _test(prefixes, listings)
    return Listing(
        _common([path for path, _ in found]),
        list(_prefixed(prefixes, [x.names for x in listings])),
        *indexed(labels),
        test,
        notes=(*notes, *said),
        unreachable=tuple(
            (f"{prefix}/{name}", why)
            for prefix, x in zip(prefixes, listings)
            for name, why in x.unreachable
        ),
        side_cars=tuple(side_cars.most_common()),
        source=Joined([(x.opener(), len(x.names)) for x in listings]),
    )


def distinct(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart, with forward slashes."""
    parts = [path.absolute().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(one[-depth:]) for one in parts]
        if len(set(names)) == len(names):
            return names
    return [path.as_posix() for path in paths]


def _prefixed(prefixes: Sequence[str], names: Sequence[Sequence[str]]) -> Iterator[str]:
    for prefix, inner in zip(prefixes, names, strict=True):
        yield from (f"{prefix}/{name}" for name in inner)


def _common(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def _test(
    prefixes: Sequence[str], listings: Sequence[Listing]
) -> tuple[np.ndarray | None, list[str]]:
    """What is held out, and what to say of it."""
    parts = [r.kind if (r := role(Path(prefix).stem)) else None for prefix in prefixes]
    by_name = [part == "test" and listing.test is None for part, listing in zip(parts, listings)]
    if all(by_name):
        by_name = [False] * len(listings)
    own = [x.test for x in listings]
    if not any(by_name) and all(test is None for test in own):
        return None, []
    test = [
        np.full(len(x.names), named) if x.test is None else x.test
        for x, named in zip(listings, by_name)
    ]
    tests = [shown(prefix) for prefix, named in zip(prefixes, by_name) if named]
    notes = [f"{', '.join(tests)}: held out, being a test part by name"] if tests else []
    return np.concatenate(test), notes
