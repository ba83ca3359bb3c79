"""What `make dist` built, installed into an empty environment: does it work there?

    python tests/wheel.py dist                 # with this machine's compiler, and without one
    python tests/wheel.py dist --dependencies  # installs PyTorch and all else there too: gigabytes

Without --dependencies, the packages that isojepa needs are those of the environment that runs this
script; isojepa itself is only the wheel. The kernel is optional: without a compiler the source
distribution has to install too, and to compute the same in plain PyTorch.
"""

import argparse
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

CHECK = """
import sys
from pathlib import Path
import torch
import isojepa
from isojepa import SIGReg, cli
home = Path(isojepa.__file__).resolve()
assert home.is_relative_to(Path(sys.prefix).resolve()), home
assert (home.parent / "py.typed").is_file()
compiled = bool(list((home.parent / "kernels").glob("_cos_sin*.so")))
torch.manual_seed(0)
z = torch.randn(64, 16, requires_grad=True)
loss = SIGReg(slices=64)(z)
loss.backward()
assert z.grad.isfinite().all()
words = [len(verb.config.__doc__) for verb in cli.verbs().values()]
print(f"{compiled} {loss.item():.5f} {len(words)} verbs")
"""
NO_COMPILER = {"CC": "/nonexistent/cc", "CXX": "/nonexistent/c++"}


def environment(place: Path, *, dependencies: bool) -> Path:
    """An empty virtual environment; returns its interpreter."""
    venv.create(place, with_pip=True)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not dependencies:
        asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = Path(said([python, "-c", asked]))
        (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def said(command: list[object], **more: str) -> str:
    """What a command prints; it has to end well."""
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | more
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env=clean
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def installed(wheel: Path, place: Path, *, dependencies: bool) -> str:
    """Install the wheel into a new environment and use it there; returns what it says."""
    python = environment(place, dependencies=dependencies)
    alone = [] if dependencies else ["--no-deps"]
    said([python, "-m", "pip", "install", "-q", "--no-cache-dir", *alone, wheel])
    version = said([python.with_name("isojepa"), "--version"])
    return f"{version}: {said([python, '-c', CHECK])}"


def without_compiler(source: Path, place: Path) -> Path:
    """The wheel that pip makes of the source distribution where there is no compiler."""
    alone = ["--no-deps", "--no-build-isolation", "--no-cache-dir"]
    said([sys.executable, "-m", "pip", "wheel", "-q", *alone, "-w", place, source], **NO_COMPILER)
    (wheel,) = place.glob("*.whl")
    return wheel


def main() -> int:
    """Try the wheel, and the source distribution without a compiler."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("dist", type=Path)
    options.add_argument("--dependencies", action="store_true")
    asked = options.parse_args()
    (wheel,) = asked.dist.glob("*.whl")
    (source,) = asked.dist.glob("*.tar.gz")
    with tempfile.TemporaryDirectory() as folder:
        one = installed(wheel, Path(folder) / "wheel", dependencies=asked.dependencies)
        print(f"wheel: {one}")
        plain = without_compiler(source, Path(folder) / "plain")
        two = installed(plain, Path(folder) / "source", dependencies=asked.dependencies)
        print(f"source, no compiler: {two}")
    compiled, values = zip(*(line.split(": ")[1].split()[:2] for line in (one, two)))
    if compiled[1] == "True":
        raise SystemExit("the kernel was compiled where there was to be no compiler")
    if abs(float(values[0]) - float(values[1])) > 1e-4:
        raise SystemExit(f"two values of one loss: {values}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
