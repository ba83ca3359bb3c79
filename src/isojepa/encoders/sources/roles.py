"""What a folder's name says that it is: a part of a split, images, or something beside images."""

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from typing import Literal, NamedTuple

Kind = Literal["train", "test", "extra", "companion", "images"]
WORDS: dict[str, Kind] = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("test", "testing", "tst", "val", "valid", "validation", "dev"), "test"),
    **dict.fromkeys(("eval", "evaluation", "holdout", "heldout", "minival", "testval"), "test"),
    **dict.fromkeys(("development", "devel"), "test"),
    **dict.fromkeys(("unlabeled", "unlabelled", "extra", "unsup", "unsupervised"), "extra"),
    **dict.fromkeys(("nolabel", "nolabels", "unannotated", "trainextra"), "extra"),
    **dict.fromkeys(("annotation", "annotations", "annots", "label", "labels", "mask", "masks"),
                    "companion"),
    **dict.fromkeys(("segmentation", "segmentations", "segmentationclass", "segmentationobject",
                     "groundtruth", "gt", "gts", "bbox", "bboxes", "trimap", "trimaps", "seg",
                     "imagesets", "meta", "metadata", "doc", "docs", "targets", "target"),
                    "companion"),
    **dict.fromkeys(("images", "image", "imgs", "img", "pictures", "photos", "jpegimages"),
                    "images"),
}  # fmt: skip
PLAIN = {
    "annotations", "labels", "masks", "segmentations", "groundtruth", "trimaps", "bboxes",
    "segmentationclass", "segmentationobject", "imagesets",
}  # fmt: skip
"""Companions that are no classes even among classes; `mask` may be one, beside `no_mask`."""
FILLERS = (
    "dataset", "datasets", "data", "images", "image", "imgs", "img", "pictures", "photos", "pics",
    "samples", "sample", "set", "split", "folder", "files", "jpeg", "jpg", "png", "labeled",
    "labelled", "new", "old", "final", "full", "small", "large", "big", "raw", "clean", "cropped",
    "resized", "augmented", "aug",
)  # fmt: skip


class Role(NamedTuple):
    """A part that a folder plays."""

    kind: Kind
    rest: str = ""
    """What else its name says; it has to be the same for all parts of a split: `seg_train`."""
    plain: bool = True
    """False for companions whose name may be that of a class."""


@cache
def role(name: str) -> Role | None:
    """The part that a folder's name speaks of, whatever its case, digits and fillers.

    `train`, `Training`, `train2017`, `trainset`, `train_images` and `Train-Data` are all the
    same; of a name with other words, such as `seg_train`, they are the rest.
    """
    if name.casefold() in WORDS:
        kind = WORDS[name.casefold()]
        return Role(kind, "", kind != "companion" or name.casefold() in PLAIN)
    words = [w.casefold() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    if sum(map(len, words)) < sum(c.isalpha() for c in name):
        return None  # words of another script are no split's
    whole = _without_fillers("".join(words))
    if whole in WORDS:
        kind = WORDS[whole]
        return Role(kind, "", kind != "companion" or whole in PLAIN)
    kinds = {w: WORDS[w] for w in words if WORDS.get(w) in ("train", "test")}
    if len(kinds) != 1:
        return None
    word, kind = next(iter(kinds.items()))
    rest = "".join(w for w in words if w != word and w not in FILLERS)
    return Role(kind, rest)


def _without_fillers(word: str) -> str:
    """The word less fillers at its ends, unless nothing would be left or it has a meaning whole."""
    while word not in WORDS:
        for filler in FILLERS:
            if word != filler and word.endswith(filler):
                word = word[: -len(filler)]
                break
            if word != filler and word.startswith(filler):
                word = word[len(filler) :]
                break
        else:
            return word
    return word


def companions(folders: Iterable[str]) -> set[str]:
    """Those of all folders above and among these that hold masks, labels and the like.

    They lie beside a folder of images, or beside the parts of a split.
    """
    below: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        while folder:
            above, _, last = folder.rpartition("/")
            if last in below[above]:
                break
            below[above].add(last)
            folder = above
    found: set[str] = set()
    for above, names in below.items():
        kinds = {name: r.kind for name in names if (r := role(name)) and not r.rest}
        if "images" in kinds.values() or {"train", "test"} <= set(kinds.values()):
            beside = [name for name, kind in kinds.items() if kind == "companion"]
            found |= {f"{above}/{name}".lstrip("/") for name in beside}
    return found
