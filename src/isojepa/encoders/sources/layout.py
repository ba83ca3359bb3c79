"""What the folders say: which are classes, which are parts of a split, which are no data.

One walk down the tree decides by the roles of a folder's children (`roles.py`) and by its
structure: a single folder is a wrapper and is entered; `train` beside `test` is a split, whose
parts hold the classes; anything else is one folder per class, each of which may hold a split.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from isojepa.boundaries import shown
from isojepa.encoders.sources.class_names import names_of, one_sided, one_spelling
from isojepa.encoders.sources.roles import Kind, companions, role

LOOSE = 0.05  # share of images beside class folders above which these are taken for no classes
Children = dict[str, list[int]]


class Layout(NamedTuple):
    """What the places of n files say of them."""

    keep: Bool[np.ndarray, " n"]
    """False for files that are no data: masks beside images, folders beside a split."""
    classes: list[str | None]
    """The class of each file, None where the place names none."""
    test: Bool[np.ndarray, " n"] | None
    """True in a test or validation part; None when the folders make no such split."""
    notes: list[str]
    """What a user should know of it, a line each."""


def read_layout(names: list[str]) -> Layout:
    """Read classes and split from the places of files.

    Args:
        names: paths relative to the data folder, with forward slashes.
    """
    number: dict[str, int] = {}
    folder_of = [number.setdefault(name.rpartition("/")[0], len(number)) for name in names]
    tree = _Tree(list(number), np.bincount(folder_of, minlength=len(number)).tolist())
    tree.drop_companions()
    tree.place([i for i in range(len(number)) if tree.keep[i]], 0, None)
    tree.comparenames_of()
    tree.name_wrappers()
    test = np.array([part == "test" for part in tree.part], bool)
    classes = tree.classes
    if len({name for name, _ in tree.named()}) < 2:
        classes = [None] * len(number)
    return Layout(
        tree.keep[folder_of],
        [classes[i] for i in folder_of],
        test[folder_of] if test[tree.keep].any() else None,
        tree.notes,
    )


class _Tree:
    """The folders that hold files, and what was decided of each so far: a place is one of them."""

    def __init__(self, folders: list[str], sizes: list[int]) -> None:
        self.folders, self.sizes = folders, sizes
        self.parts = [folder.split("/") if folder else [] for folder in folders]
        self.keep = np.ones(len(folders), bool)
        self.classes: list[str | None] = [None] * len(folders)
        self.part: list[Kind | None] = [None] * len(folders)
        self.notes: list[str] = []
        self.wrappers: list[str] = []

    def count(self, places: Iterable[int]) -> int:
        """The number of files in these places."""
        return sum(self.sizes[i] for i in places)

    def children(self, files: Iterable[int], depth: int) -> tuple[Children, list[int]]:
        """The places by the folder they are in at this depth, and those of files beside these."""
        folders: Children = defaultdict(list)
        loose = []
        for i in files:
            if len(self.parts[i]) > depth:
                folders[self.parts[i][depth]].append(i)
            else:
                loose.append(i)
        return dict(sorted(folders.items())), loose

    def drop_companions(self) -> None:
        """Leave out masks, labels and the like beside images, or beside the parts of a split."""
        dropped = companions(self.folders)
        if not dropped:
            return
        for i, parts in enumerate(self.parts):
            places = ("/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
            self.keep[i] = not any(place in dropped for place in places)
        self.notes.append(f"{names_of(dropped)}: beside images, taken for no images; left out")

    def place(self, files: list[int], depth: int, part: Kind | None, above: str = "") -> None:
        """Decide the classes and parts of files that share their first `depth` folders."""
        folders, loose = self.children(files, depth)
        split = {} if part in ("test", "extra") else self._split(folders, depth)
        if split:
            self._place_split(folders, loose, split, depth)
        elif len(folders) == 1 and self._is_wrapper(folders, loose, depth, part, above):
            folder, files = next(iter(folders.items()))
            if part is None:
                self.wrappers.append(folder)
            self.place(files, depth + 1, part, folder)
        else:
            self._place_classes(folders, loose, depth, part)

    def _split(self, folders: Children, depth: int) -> dict[str, Kind]:
        """The folders that are parts of a split, if there is one among them."""
        roles = {folder: r for folder in folders if (r := role(folder))}
        rests = {r.rest for r in roles.values() if r.kind == "train"} & {
            r.rest for r in roles.values() if r.kind == "test"
        }
        found: dict[str, Kind] = {
            f: r.kind for f, r in roles.items() if r.kind in ("train", "test") and r.rest in rests
        }
        extra: dict[str, Kind] = {f: r.kind for f, r in roles.items() if r.kind == "extra"}
        if found:
            return found | extra
        alone: dict[str, Kind] = {
            f: r.kind for f, r in roles.items() if r.kind in ("train", "test") and not r.rest
        }
        others = [f for f in folders if f not in alone and f not in extra]
        kinds = set(alone.values())
        if kinds == {"train"}:
            classes = [self.children(folders[f], depth + 1)[0] for f in alone]
            if (not others and len(folders) > 1) or (others and any(len(c) > 1 for c in classes)):
                return alone | extra
        if kinds == {"test"} and others:
            return alone | extra | dict.fromkeys(others, "train")
        return {}

    def _place_split(
        self, folders: Children, loose: list[int], split: dict[str, Kind], depth: int
    ) -> None:
        beside = [f for f in folders if f not in split]
        left_out = [i for f in beside for i in folders[f]] + loose
        if left_out:
            self.keep[left_out] = False
            what = [f"'{shown(f)}/'" for f in beside[:5]] + ["loose images"] * bool(loose)
            self.notes.append(
                f"{' and '.join(what)} beside {names_of(split)}: {self.count(left_out)} images of "
                "no part of the split, left out; move them into one, or name the folder 'unlabeled'"
            )
        parts: dict[Kind, list[str]] = defaultdict(list)
        for folder, kind in split.items():
            parts[kind].append(folder)
        if "test" not in parts:
            self.notes.append(
                f"{names_of(split)}: no test or validation folder beside it, so --holdout decides"
            )
        for kind, members in parts.items():
            for folder in members:
                for i in folders[folder]:
                    self.part[i] = kind
            if kind == "train" and all(
                (r := role(f)) is None or r.kind != "train" for f in members
            ):
                # Class folders with a test folder among them
                mine = {f: folders[f] for f in members}
                self._place_classes(mine, [], depth, "train")
                continue
            for folder in members:
                if kind != "extra":
                    self.place(folders[folder], depth + 1, kind, folder)

    def name_wrappers(self) -> None:
        """Say where the classes and the split were found, if not at the top."""
        found = any(c is not None for c in self.classes) or any(p is not None for p in self.part)
        if self.wrappers and found:
            place = shown("/".join(self.wrappers))
            self.notes.append(f"the only folder is '{place}/': classes and split are read below it")
        known = [r.kind for folder in self.wrappers if (r := role(folder))]
        if "train" in known and "test" not in self.part:
            self.notes.append("a training folder without a test folder: --holdout decides")

    def _is_wrapper(
        self, folders: Children, loose: list[int], depth: int, part: Kind | None, above: str
    ) -> bool:
        """Whether the only folder here holds the data, rather than being a class."""
        folder, files = next(iter(folders.items()))
        if self.count(loose) > LOOSE * self.count([*files, *loose]):
            return False
        if part is None:
            return True
        is_same = folder.casefold() == above.casefold()
        known = role(folder)
        if part == "test" and folder.casefold() == "unknown":
            return True
        if is_same or (known is not None and known.kind in ("images", "extra", part)):
            return True
        return len(self.children(files, depth + 1)[0]) > 1

    def _place_classes(
        self, folders: Children, loose: list[int], depth: int, part: Kind | None
    ) -> None:
        beside = self.count(loose)
        if beside > LOOSE * (beside + sum(map(self.count, folders.values()))):
            if folders:
                self.notes.append(
                    f"{beside} images lie beside {names_of(folders)}: these are taken for no "
                    "classes; give --labels if they are labelled"
                )
            return
        folders = self._only_classes(folders, part)
        if part is None and self._split_below(folders, depth):
            return
        for folder, files in folders.items():
            for i in files:
                self.classes[i] = folder

    def _only_classes(self, folders: Children, part: Kind | None) -> Children:
        """The class folders, less those whose names are those of parts or of no images."""
        kinds = {f: r for f in folders if (r := role(f)) and not r.rest}
        masks = [f for f, r in kinds.items() if r.kind == "companion" and r.plain]
        if masks and len(masks) < len(folders):
            self.keep[[i for f in masks for i in folders[f]]] = False
            self.notes.append(f"{names_of(masks)}: taken for no images by name; left out")
        plain = [f for f, r in kinds.items() if r.kind in ("extra", "images")]
        if plain and len(plain) < len(folders):
            self.notes.append(f"{names_of(plain)}: no class by name; used as unlabelled images")
        classes = {f: x for f, x in folders.items() if f not in masks and f not in plain}
        trains = [f for f in classes if f in kinds and kinds[f].kind == "train"]
        if part is None and trains:
            others = [f for f in classes if f not in trains]
            if len(others) < 2:
                self.notes.append(
                    f"{names_of(trains)} beside {names_of(others)}: taken neither for a split, as "
                    "no test folder is there, nor for classes; rename them, or give --labels"
                )
                return {}
            self.notes.append(
                f"{names_of(trains)}: taken for a class of that name, as it lies beside "
                f"{len(others)} other folders and no test folder"
            )
        return classes

    def _split_below(self, folders: Children, depth: int) -> bool:
        """Place class folders that hold train and test folders each; False if they do not."""
        inner = {folder: self.children(files, depth + 1) for folder, files in folders.items()}
        roles = {name: role(name) for below, _ in inner.values() for name in below}
        kinds = {r.kind for r in roles.values() if r is not None and not r.rest}
        loose = any(beside for _, beside in inner.values())
        if any(r is None or r.rest for r in roles.values()):
            return False
        if "test" not in kinds or not ("train" in kinds or loose):
            return False
        shared = self._shared_below(inner, depth)
        for folder, (below, beside) in inner.items():
            for i in beside:
                self.part[i], self.classes[i] = "train", folder
            for name, files in below.items():
                known = roles[name]
                assert known is not None
                for i in files:
                    self.part[i] = known.kind
                    if known.kind in ("train", "test"):
                        self.classes[i] = self.parts[i][depth + 2] if shared else folder
        what = f"the folders below them, {names_of(shared)}" if shared else names_of(folders)
        self.notes.append(f"{names_of(folders)} each hold {names_of(roles)}: classes are {what}")
        return True

    def _shared_below(self, inner: dict[str, tuple[Children, list[int]]], depth: int) -> set[str]:
        """Class names that lie below every part of every folder: site1/train/a, site2/train/a."""
        names: list[set[str]] = []
        for below, beside in inner.values():
            for files in below.values():
                deeper, loose = self.children(files, depth + 2)
                names.append(set() if loose or beside else set(deeper))
        shared = set.intersection(*names) if names else set()
        return set.union(*names) if len(shared) > 1 else set()

    def named(self) -> list[tuple[str, Kind | None]]:
        """Class and part of each place that has a class."""
        places = zip(self.classes, self.part, self.keep, strict=True)
        return [(name, part) for name, part, keep in places if name is not None and keep]

    def comparenames_of(self) -> None:
        """Make one class of what the parts spell otherwise; say which classes a part lacks."""
        instead, notes = one_spelling(self.named())
        self.classes = [None if c is None else instead.get(c, c) for c in self.classes]
        self.notes += [*notes, *one_sided(self.named())]
