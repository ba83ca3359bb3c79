"""World models as two graphs: they roll out as the model does, without this package."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from isojepa import cli
from isojepa.errors import UserError
from isojepa.world.model import export as exporting
from isojepa.world.model.export import WorldExportConfig, export_graphs
from isojepa.world.model.world_model import export_world_model
from tests.world.model.test_model import tiny

ONNX = pytest.param("onnx", marks=pytest.mark.filterwarnings("ignore"))


@pytest.mark.parametrize("kind", [ONNX, "torch-export"])
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"history": 1}, marks=pytest.mark.slow),
        {"encoder": "lewm_vit"},
    ],
)
def test_the_folder_alone_rolls_out_as_the_model(
    tmp_path: Path, kind: exporting.GraphFormat, changes: dict
) -> None:
    if "encoder" in changes:
        changes = changes | {"encoder_options": {"width": 32, "depth": 1, "heads": 2}}
    model = tiny(**changes)
    export_world_model(tmp_path / "world_model", model)
    out = export_graphs(WorldExportConfig(run=tmp_path, format=kind))
    assert out == tmp_path / f"export-{kind}"
    rng = np.random.default_rng(3)  # fewer frames than the proof's: the window grows
    frames = rng.integers(0, 256, (1, 16, 16, 3), np.uint8)
    actions = rng.standard_normal((3, 4)).astype(np.float32)
    np.savez(tmp_path / "in.npz", frames=frames, actions=actions)
    words = [sys.executable, str(out / "rollout.py"), "out.npz", "in.npz"]
    subprocess.run(words, cwd=tmp_path, check=True)
    with torch.no_grad():
        z = model.encode(torch.from_numpy(frames).permute(0, 3, 1, 2)[None])
        blocks = model.scale.normalise(torch.from_numpy(actions))[None]
        ahead = model.rollout(z, blocks[:, :0], blocks[:, None])[0, 0]
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["embeddings"], z[0].numpy(), atol=1e-4)
        np.testing.assert_allclose(found["predicted"], ahead.numpy(), atol=1e-4)


def test_what_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_world_model(tmp_path / "world_model", tiny())
    monkeypatch.setattr(exporting, "LIMIT", -1.0)
    with pytest.raises(UserError, match=r"differs by .*nothing was kept"):
        export_graphs(WorldExportConfig(run=tmp_path, format="torch-export"))
    assert [path.name for path in tmp_path.iterdir()] == ["world_model"]


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["world", "export", str(tmp_path)]) == 2
    assert "no trained world model here" in capsys.readouterr().err
    export_world_model(tmp_path / "world_model", tiny())
    (tmp_path / "export-onnx").mkdir()
    assert cli.main(["world", "export", str(tmp_path)]) == 2
    assert "already there; choose another" in " ".join(capsys.readouterr().err.split())
