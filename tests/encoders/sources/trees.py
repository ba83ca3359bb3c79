"""Folders of tiny files, written in one line."""

from pathlib import Path


def touch(root: Path, *names: str) -> Path:
    """Write the files, each with its own name for contents; returns the root."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def plant(root: Path, tree: str, n: int = 2) -> Path:
    """Write n images in each of the folders named, with blanks between them."""
    return touch(root, *(f"{folder}/{i}.png" for folder in tree.split() for i in range(n)))
