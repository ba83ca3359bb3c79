"""What may surprise about a source: said aloud, once."""

import logging
from pathlib import Path

log = logging.getLogger(__name__)
_warned: set[tuple[Path, str]] = set()


def warn_once(root: Path, note: str) -> None:
    """Warn of something about a source, once per process: scores read again what was trained on."""
    what = (root.resolve(), note)
    if what not in _warned:
        _warned.add(what)
        log.warning("%s", note)
