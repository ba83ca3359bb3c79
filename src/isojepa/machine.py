"""What this process may use of the machine: the least of hardware, container and limits."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import ModuleType

CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 2**60  # version 1 of cgroups writes "no limit" as a number of this order


def cores(root: Path = CGROUP) -> int:
    """Processors that this process may run on: its affinity, and the container's quota of time."""
    allowed = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    quota = _quota(root)
    return max(1, allowed if quota is None else min(allowed, round(quota)))


def memory_bytes(root: Path = CGROUP) -> int:
    """Bytes that this process may take: physical memory, the container's limit and `ulimit -v`.

    2^60 where nothing tells.
    """
    found = [_physical(), _address_space(), *_container(root)]
    return min((x for x in found if x is not None), default=UNLIMITED)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on every platform
        return None


def _address_space() -> int | None:
    """What is left of the address space: what is mapped already, libraries included, counts."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit in (resource.RLIM_INFINITY, -1):
        return None
    pages = _text(Path("/proc/self/statm"))
    taken = int(pages.split()[0]) * resource.getpagesize() if pages else 0
    return max(0, limit - taken)


def _container(root: Path) -> list[int]:
    names = ("memory.max", "memory.high", "memory/memory.limit_in_bytes")
    texts = [_text(folder / name) for folder in _groups(root) for name in names]
    return [int(t) for t in texts if t is not None and t.isdigit() and int(t) < UNLIMITED]


def _quota(root: Path) -> float | None:
    """Processors' worth of time that the container may use, or None without a limit."""
    quotas = []
    for folder in _groups(root):
        text = (_text(folder / "cpu.max") or "").split()  # version 2: "200000 100000" or "max ..."
        if len(text) != 2:
            text = [_text(folder / "cpu" / f"cpu.cfs_{x}_us") or "" for x in ("quota", "period")]
        if all(x.isdigit() and int(x) > 0 for x in text):
            quotas.append(int(text[0]) / int(text[1]))
    return min(quotas, default=None)


def _groups(root: Path) -> list[Path]:
    """The process's own group and those above it: inside a container only the root is seen."""
    folders = [root]
    for line in (_text(Path("/proc/self/cgroup")) or "").splitlines():
        number, _, place = line.split(":", 2)
        if number == "0":  # version 2
            inner = root / place.lstrip("/")
            while inner not in (root, inner.parent):
                folders.append(inner)
                inner = inner.parent
    return folders


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import in half the time: the collector looks for no cycles meanwhile, and Lightning, which
    asks for torchmetrics' version alone, is told it without importing that, and with it SciPy's
    signals, torchvision's models and transformers."""
    collecting, name = gc.isenabled(), "torchmetrics"
    told = ModuleType(name)
    with suppress(metadata.PackageNotFoundError):
        told.__dict__["__version__"] = metadata.version(name)
        sys.modules.setdefault(name, told)
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
        if sys.modules.get(name) is told:
            del sys.modules[name]
