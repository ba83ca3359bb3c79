"""The compiled kernel's threads and processes, and life without it."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch

from isojepa.kernels import chosen_kernel, dispatch, use_kernel
from isojepa.kernels import threads as torch_threads
from isojepa.kernels.compiled import load_compiled

cpu = pytest.importorskip("isojepa.kernels.cpu", reason="no compiler when installed")
STEP = 3 / 16


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def problem(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 500, 77, generator=generator, dtype=dtype)
    return x, *torch.randn(2, 2, 77, 17, generator=generator, dtype=dtype)


@pytest.mark.parametrize("pool", ["torch", "own"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bit_for_bit_the_same_on_any_number_of_threads(
    dtype: torch.dtype, pool: str, threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    if pool == "own":
        monkeypatch.setattr(torch_threads, "_parallel", None)
    x, *gradients = problem(dtype)
    assert x.numel() > cpu.SERIAL
    threads(1)
    expected = *cpu.sums(x, 17, STEP), cpu.gradient(x, *gradients, STEP)
    for count in (2, 3, 8):
        threads(count)
        actual = *cpu.sums(x, 17, STEP), cpu.gradient(x, *gradients, STEP)
        assert all(torch.equal(a, e) for a, e in zip(actual, expected))


def test_is_the_one_chosen() -> None:
    assert chosen_kernel(torch.device("cpu")) == "cpu"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="torch's OpenMP is found on Linux")
def test_finds_the_threads_of_torch() -> None:
    assert torch_threads.parallel() is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_works_in_a_forked_process_after_use_in_the_parent() -> None:
    """In its own interpreter, so that the threads of other tests cannot disturb it."""
    script = """
        import os, torch
        from isojepa.kernels import cos_sin_sums
        torch.set_num_threads(2)
        x = torch.randn(1000, 64)
        expected = cos_sin_sums(x, 17, 0.2)
        child = os.fork()
        if child == 0:
            same = all(torch.equal(a, e) for a, e in zip(cos_sin_sums(x, 17, 0.2), expected))
            os._exit(0 if same else 3)
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300)


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch):
    """As on a machine that had no compiler."""
    dispatch._works.cache_clear()
    monkeypatch.setitem(sys.modules, "isojepa.kernels.cpu", None)
    yield
    dispatch._works.cache_clear()


@pytest.mark.usefixtures("without_library")
def test_falls_back_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert chosen_kernel(torch.device("cpu")) == "recurrence"
    assert len(caplog.records) == 1
    with pytest.raises(ImportError), use_kernel("cpu"):
        pass


def test_refuses_a_library_of_another_version() -> None:
    with pytest.raises(ImportError, match="install isojepa again"):
        load_compiled("isojepa.kernels._cos_sin", cpu.VERSION + 1)
