"""The compiled parts of isojepa; pyproject.toml declares all the rest.

SIGReg's sums and the views of images on the CPU: plain C libraries, loaded with ctypes, which
choose the instruction set when they are called, so that no flag names one here. Optional: where no
compiler is found the package is installed without them and computes in plain PyTorch.
"""

from setuptools import Extension, setup

KERNELS, IMAGES = "src/isojepa/kernels", "src/isojepa/encoders/modalities/images"


def compiled(name: str, source: str, *headers: str) -> Extension:
    return Extension(
        name,
        sources=[source],
        depends=list(headers),  # also puts them into the source distribution
        language="c++",
        extra_compile_args=[
            "-std=c++17",
            "-O3",
            "-funroll-loops",
            "-ffp-contract=fast",
            "-fno-math-errno",
            "-fno-trapping-math",
            "-pthread",
            "-g0",
            "-Wno-psabi",  # vectors are passed between functions of one file only
        ],
        extra_link_args=["-pthread"],
        optional=True,
    )


THREADS = f"{KERNELS}/threads.h"
setup(
    ext_modules=[
        compiled(
            "isojepa.kernels._cos_sin",
            f"{KERNELS}/cos_sin.cpp",
            f"{KERNELS}/cos_sin_tile.h",
            THREADS,
        ),
        compiled("isojepa.encoders.modalities.images._render", f"{IMAGES}/render.cpp", THREADS),
    ]
)
