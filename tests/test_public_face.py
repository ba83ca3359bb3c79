"""What the docs use is importable by public names, and importing little stays cheap."""

import subprocess
import sys

import pytest

import isojepa
import isojepa.normality


@pytest.mark.parametrize("module", [isojepa, isojepa.normality], ids=lambda m: m.__name__)
def test_every_public_name_is_there(module) -> None:
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = module.nothing


def test_sigreg_needs_neither_timm_nor_bokeh() -> None:
    code = "import sys; from isojepa import SIGReg; print({'timm', 'bokeh'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
