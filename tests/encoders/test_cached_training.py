"""A run with decoded images that were kept equals one without, weight for weight."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from isojepa.caches.folder import entries
from isojepa.encoders import pretrain
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images import images as reading
from isojepa.encoders.modalities.images.store import ROWS
from isojepa.runs.record import read_run
from isojepa.runs.tables import read_skipped


def trained(config: PretrainConfig, out: Path) -> dict[str, torch.Tensor]:
    pretrain.train_encoder(replace(config, out=out))
    return load_file(out / "checkpoints" / "step-00000008" / "model.safetensors")


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_with_without_and_with_half_of_it(
    quick: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for path in sorted(quick.data.rglob("*.jpg")):
        (tmp_path / "data" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "data" / "30.jpg").write_bytes(
        (quick.data / "upright" / "30.jpg").read_bytes()[:99]
    )
    place = tmp_path / "cache"
    config = replace(quick, data=tmp_path / "data", cache=place, recipe="glyph", max_skipped=1.0)
    without = trained(replace(config, no_cache=True), tmp_path / "without")
    assert not place.exists()
    filling = trained(config, tmp_path / "filling")
    (entry,) = [entry for entry in entries(place) if entry.kind == "images"]
    rows = entry.paths[0] / ROWS
    half = rows.read_bytes()[: rows.stat().st_size // 2]
    rows.write_bytes(half.ljust(rows.stat().st_size, b"\0"))  # as a killed builder leaves it
    decoded = []
    square_of = reading.square_of
    monkeypatch.setattr(
        reading, "square_of", lambda *given: decoded.append(given[-1]) or square_of(*given)
    )
    from_half = trained(config, tmp_path / "half")
    assert 20 < len(decoded) < 28
    decoded.clear()
    again = trained(config, tmp_path / "again")
    assert decoded == []
    for weights in (filling, from_half, again):
        assert_equal(weights, without)
    skipped = [read_skipped(tmp_path / out) for out in ("without", "filling", "half", "again")]
    assert skipped[0][0][0] == "30.jpg"
    assert all(one == skipped[0] for one in skipped)
    data = [read_run(tmp_path / out).data for out in ("without", "again")]
    assert data[0] == data[1]


def test_another_network_of_the_same_size_finds_them(
    quick: PretrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(quick, cache=tmp_path / "cache", steps=1)
    pretrain.train_encoder(config)
    monkeypatch.setattr(reading, "square_of", lambda *given: pytest.fail(f"{given[-1]} decoded"))
    other = replace(
        config, out=tmp_path / "other", model="resnet_micro", seed=5, batch_size=8, global_views=2
    )
    pretrain.train_encoder(other)
    assert read_run(other.out).data["images"] == 48
