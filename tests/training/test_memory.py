"""The memory of a training process: its page faults, and what it holds."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

FAULTS = """
import resource, sys, torch
from contextlib import nullcontext
from isojepa.training.memory import kept_memory

def update():
    tensors = [torch.ones(12 << 20) for _ in range(2)]
    return sum(x.sum().item() for x in tensors)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20

with kept_memory() if sys.argv[1] == "kept" else nullcontext():
    update()
    before = faults()
    for _ in range(4):
        assert update() == 24 << 20
    inside, held = faults() - before, resident()
print(inside, held - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc")
def test_what_is_freed_is_kept_and_given_back_at_the_end() -> None:
    faults, given_back = measure("kept")
    assert faults < 1_000  # four updates of 96 MiB take 98,304 pages of 4 KiB
    assert given_back > 80
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not pages.exists() or "[always]" not in pages.read_text():
        assert measure("handed back")[0] > 20_000


def measure(how: str) -> tuple[int, int]:
    """Page faults of four updates after the first, and MiB given back at the end."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    faults, given_back = done.stdout.split()
    return int(faults), int(given_back)
