"""Several listings as one."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from isojepa.encoders.sources.folder import Listing, indexed
from isojepa.encoders.sources.held_out import label_names
from isojepa.encoders.sources.items import Joined
from isojepa.encoders.sources.named_parts import distinct, held_out_by_name


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


def _prefixed(prefixes: Sequence[str], names: Sequence[Sequence[str]]) -> Iterator[str]:
    for prefix, inner in zip(prefixes, names, strict=True):
        yield from (f"{prefix}/{name}" for name in inner)


def _common(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def _test(
    prefixes: Sequence[str], listings: Sequence[Listing]
) -> tuple[Bool[np.ndarray, " n"] | None, list[str]]:
    """What is held out, and what to say of it: a split of its own counts more than a name."""
    counts = [len(x.names) for x in listings]
    test, said = held_out_by_name([Path(prefix).name for prefix in prefixes], counts)
    own = [x.test for x in listings]
    if all(one is None for one in own):
        return test, said
    named = np.zeros(sum(counts), bool) if test is None else test
    parts = np.split(named, np.cumsum(counts)[:-1])
    return np.concatenate([b if a is None else a for a, b in zip(own, parts)]), said
