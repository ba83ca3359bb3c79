"""The files that docs/howto/modality.md writes, put in place: trained on and embedded by."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.io import wavfile

from isojepa import EmbedConfig, PretrainConfig, embed, load_encoder, pretrain
from isojepa.encoders.modalities import registry
from isojepa.encoders.modalities.modality import Networks, Reading, Viewing

PAGE = Path(__file__).parents[1] / "docs" / "howto" / "modality.md"
CONTRACTS = {"read": Reading, "views": Viewing, "network": Networks}


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """40 tones, low and high."""
    rng = np.random.default_rng(0)
    for i in range(40):
        place = tmp_path / "sounds" / ("high" if i % 2 else "low")
        place.mkdir(parents=True, exist_ok=True)
        t = np.arange(2048) / 8000
        wave = np.sin(2 * np.pi * rng.uniform(*((1500, 2500) if i % 2 else (300, 900))) * t)
        noisy = 8000 * wave + rng.normal(0, 500, len(t))
        wavfile.write(place / f"{i}.wav", 8000, noisy.astype(np.int16))
    return tmp_path / "sounds"


@pytest.fixture
def modality(monkeypatch: pytest.MonkeyPatch) -> None:
    home = f"{registry.__package__}.sounds"
    monkeypatch.setitem(sys.modules, home, ModuleType(home))
    for part, code in re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text(), re.DOTALL):
        module = ModuleType(f"{home}.{part}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(code, f"{part}.py of modality.md", "exec"), vars(module))
        (made,) = (x for x in vars(module).values() if isinstance(x, CONTRACTS[part]))
        assert all(hasattr(made, name) for name in CONTRACTS[part].__annotations__)
    monkeypatch.setattr(registry, "MODALITIES", ("sounds", *registry.MODALITIES))


@pytest.mark.usefixtures("modality")
def test_the_new_modality_is_trained_scored_embedded_and_shown(
    sounds: Path, tmp_path: Path
) -> None:
    run = pretrain(
        PretrainConfig(
            data=sounds, out=tmp_path / "run", steps=6, batch_size=16, projection_dim=8, slices=16,
            log_every=2, device="cpu", tensorboard=False,
        )
    )  # fmt: skip
    assert (run / "scores.json").is_file()
    assert "40 sounds" in (run / "report.html").read_text()
    assert load_encoder(run).spec.rate == 8000
    out = embed(EmbedConfig(run=run, data=sounds, out=tmp_path / "z.npz", device="cpu"))
    made = np.load(out)
    assert made["embeddings"].shape == (40, 64)
    assert set(made["class_names"]) == {"high", "low"}
