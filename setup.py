"""The compiled part of isojepa; pyproject.toml declares all the rest.

SIGReg's sums on the CPU: a plain C library, loaded with ctypes, which chooses the instruction set
when it is called, so that no flag names one here. Optional: where no compiler is found the package
is installed without it and computes in plain PyTorch.
"""

from setuptools import Extension, setup

FOLDER = "src/isojepa/kernels"

setup(
    ext_modules=[
        Extension(
            "isojepa.kernels._cos_sin",
            sources=[f"{FOLDER}/cos_sin.cpp"],
            depends=[f"{FOLDER}/cos_sin_tile.h"],  # also puts it into the source distribution
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
                "-Wno-psabi",  # vectors are passed between functions of this file only
            ],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
