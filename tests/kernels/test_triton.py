"""The Triton kernels equal the float64 reference: on a GPU, or where there is none, interpreted."""

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from isojepa.kernels import reference

triton = pytest.importorskip("triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
runs = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="no GPU: see test_interpreted"
)
STEP = 3 / 16
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-5, torch.float16: 1e-5}


@pytest.mark.skipif(INTERPRETED or torch.cuda.is_available(), reason="runs directly")
def test_interpreted() -> None:
    """The other tests of this file in a process where Triton interprets kernels on the CPU."""
    subprocess.run(
        [sys.executable, "-m", "pytest", "-x", __file__],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        check=True,
        timeout=300,
    )


def _sample(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = scale * torch.randn(shape, generator=generator, dtype=torch.float64)
    return x.to(dtype).to(DEVICE)


def _check(x: torch.Tensor, knots: int, step: float = STEP, tolerance: float | None = None) -> None:
    from isojepa.kernels import triton_kernel

    tolerance = TOLERANCE[x.dtype] if tolerance is None else tolerance
    maths = torch.float64 if x.dtype == torch.float64 else torch.float32
    expected = reference.sums(x.double(), knots, step)
    actual = triton_kernel.sums(x, knots, step)
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == maths
        torch.testing.assert_close(a.double(), e, atol=tolerance * x.shape[-2], rtol=0)

    grads = [_sample(*e.shape, dtype=maths, scale=1) for e in expected]
    actual_gradient = triton_kernel.gradient(x, *grads, step)
    assert actual_gradient.dtype == x.dtype
    low = x.dtype in (torch.bfloat16, torch.float16)
    torch.testing.assert_close(
        actual_gradient.double(),
        reference.gradient(x.double(), *(g.double() for g in grads), step),
        atol=tolerance * step * knots**1.5,  # the size of a typical gradient
        rtol=torch.finfo(x.dtype).eps if low else tolerance,
    )


@runs
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_value_and_gradient_equal_the_reference(dtype: torch.dtype) -> None:
    _check(_sample(20, 7, dtype=dtype), 17)


@runs
@pytest.mark.parametrize("shape", [(3, 20, 5), (2, 1, 9, 4), (1, 1), (1, 33), (9, 1), (70, 17)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    _check(_sample(*shape), 17)


@runs
@pytest.mark.parametrize("knots", [2, 3, 4, 5, 8, 9, 13, 16, 18, 19, 34, 128])
def test_number_of_knots(knots: int) -> None:
    _check(_sample(11, 3), knots, step=5 / knots)


@runs
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_many_knots(dtype: torch.dtype) -> None:
    _check(_sample(11, 3, dtype=dtype), 41, step=1 / 8)


@runs
def test_one_knot_is_the_count() -> None:
    from isojepa.kernels import triton_kernel

    x = _sample(21, 3)
    cos_sums, sin_sums = triton_kernel.sums(x, 1, STEP)
    assert (cos_sums == 21).all()
    assert (sin_sums == 0).all()
    assert (triton_kernel.gradient(x, cos_sums, sin_sums, STEP) == 0).all()


@runs
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 4, 3), (2, 0, 3)])
def test_empty(shape: tuple[int, ...]) -> None:
    from isojepa.kernels import triton_kernel

    x = _sample(*shape)
    cos_sums, sin_sums = triton_kernel.sums(x, 17, STEP)
    assert cos_sums.shape == sin_sums.shape == (*shape[:-2], shape[-1], 17)
    assert (cos_sums == 0).all()
    assert triton_kernel.gradient(x, cos_sums, sin_sums, STEP).shape == shape


@runs
@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.mT,
        lambda x: x[..., ::2],
        lambda x: x[:, ::3],
        lambda x: x[:, 1:, 1:],
        lambda x: x.transpose(0, 1),
        lambda x: x[:, :1].expand(-1, 3, -1),
        lambda x: x[:1].expand(2, -1, -1),
    ],
)
def test_any_strides(view: object) -> None:
    _check(view(_sample(2, 3, 33)), 17)


@runs
def test_gradients_of_any_strides() -> None:
    from isojepa.kernels import triton_kernel

    x = _sample(2, 9, 5)
    grad = _sample(2, 17, 5)
    one = torch.ones((), device=DEVICE).expand(2, 5, 17)
    for grad_cos, grad_sin in ((grad.mT, one), (one, grad.mT)):
        expected = triton_kernel.gradient(x, grad_cos.contiguous(), grad_sin.contiguous(), STEP)
        assert torch.equal(triton_kernel.gradient(x, grad_cos, grad_sin, STEP), expected)


@runs
@pytest.mark.parametrize("value", [0.0, 0.01, 1.0, 16.755, 33.5, -3.0])
def test_repeated_samples(value: float) -> None:
    """Collapsed embeddings, where rounding errors do not average out; 33.5 is a whole turn."""
    _check(torch.full((40, 2), value, device=DEVICE), 17)


@runs
def test_large_samples() -> None:
    # The interpreter rounds a multiply-add twice, so that angles lose what x * step rounds off.
    _check(_sample(64, 3, scale=3e3), 17, tolerance=5e-3 if INTERPRETED else 1e-4)
    _check(_sample(64, 3, dtype=torch.float64, scale=3e3), 17, tolerance=1e-9)


@runs
def test_beyond_precision_sums_stay_bounded_and_nan_shows() -> None:
    from isojepa.kernels import triton_kernel

    for x in (1e9, -1e20, 3e37):
        cos_sums, sin_sums = triton_kernel.sums(torch.full((8, 2), x, device=DEVICE), 17, STEP)
        assert (cos_sums.abs() <= 8.01).all()
        assert (sin_sums.abs() <= 8.01).all()
    for x in (float("nan"), float("inf")):
        cos_sums, _ = triton_kernel.sums(torch.tensor([[x, 1.0]], device=DEVICE), 17, STEP)
        assert cos_sums[0, 1:].isnan().all()
        assert cos_sums[1].isfinite().all()


@runs
def test_many_samples_over_several_programs() -> None:
    _check(_sample(5000, 1), 17)


@runs
@pytest.mark.skipif(INTERPRETED, reason="slow where interpreted")
@pytest.mark.parametrize("shape", [(16384, 1024), (3, 100_003, 17), (256, 40_000)])
def test_large_and_reproducible(shape: tuple[int, ...]) -> None:
    from isojepa.kernels import triton_kernel

    x = _sample(*shape)
    _check(x[..., :64], 17)
    first, second = (torch.stack(triton_kernel.sums(x, 17, STEP)) for _ in range(2))
    assert torch.equal(first, second)
    whole = first[..., :64, :]
    part = torch.stack(triton_kernel.sums(x[..., :64], 17, STEP))
    torch.testing.assert_close(whole, part, atol=1e-5 * shape[-2], rtol=0)


@runs
@pytest.mark.skipif(INTERPRETED, reason="allocates gigabytes")
def test_offsets_beyond_32_bits() -> None:
    from isojepa.kernels import triton_kernel

    n, m = 2**16 + 1, 2**15 + 1
    if torch.cuda.mem_get_info()[0] < 14e9:
        pytest.skip("needs 14 GB")
    x = torch.zeros(n, m, dtype=torch.float16, device=DEVICE)
    x[-1] = 1
    cos_sums, sin_sums = triton_kernel.sums(x, 3, 1.0)
    torch.testing.assert_close(sin_sums[:, 1], torch.full_like(sin_sums[:, 1], 0.841470985))
    grad_x = triton_kernel.gradient(x, torch.zeros_like(cos_sums), torch.ones_like(sin_sums), 1.0)
    torch.testing.assert_close(grad_x[0, 0].item(), 3.0, rtol=1e-3, atol=0)
    torch.testing.assert_close(grad_x[-1, -1].item(), -0.2919915, rtol=1e-3, atol=0)


@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize(
    ("capability", "dtype", "start"),
    [(80, "fp32", True), (90, "fp32", True), (90, "fp32", False), (90, "bf16", True)],
)
@pytest.mark.parametrize("kernel", ["_sums_kernel", "_gradient_kernel"])
def test_compiles_without_spilling(
    kernel: str,
    capability: int,
    dtype: str,
    start: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ahead of time, for A100 and H100, in few registers: at 64, 32 warps fit a processor."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from isojepa.kernels import triton_kernel

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    if not (tools / "ptxas").exists() or not (tools / "cuobjdump").exists():
        pytest.skip("no CUDA assembler beside Triton")
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    function = getattr(triton_kernel, kernel)
    constants = {"START": start, "GIANTS": 3, "ROWS": 8, "COLUMNS": 32}
    compiled = triton.compile(
        ASTSource(
            fn=function,
            signature={
                name: _type(name, dtype) for name in inspect.signature(function.fn).parameters
            },
            constexprs=constants,
        ),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": 8, "enable_fp_fusion": False},
    )
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(compiled.asm["cubin"])
    usage = subprocess.run(
        [tools / "cuobjdump", "--dump-resource-usage", binary],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    assert int(registers) <= 80
    assert int(stack) == 0


def _type(parameter: str, dtype: str) -> str:
    if parameter.isupper():
        return "constexpr"
    if parameter in ("x_pointer", "grad_pointer"):
        return f"*{dtype}"
    if parameter.endswith("_pointer"):
        return "*fp32"
    return "fp32" if parameter.endswith(("turns", "rest")) else "i32"
