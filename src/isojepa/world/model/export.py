"""`isojepa world export`: a world model as two graphs, encoder and predictor, and the proof."""

import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from isojepa.backbones.graphs import GraphFormat, run_afresh, save_onnx, save_torch_export
from isojepa.boundaries import shown, writing
from isojepa.errors import UserError
from isojepa.files import load_arrays
from isojepa.progress import console
from isojepa.runs.folder import write_json
from isojepa.world.model.world_model import WorldModel, load_world_model

log = logging.getLogger(__name__)
LIMIT = 1e-4
PROGRAM = Path(__file__).with_name("standalone") / "rollout.py"
FOREIGN = {
    "onnx": ("torch", "torchvision", "timm", "safetensors", "onnx", "onnxscript"),
    "torch-export": ("torchvision", "timm", "safetensors", "onnxruntime", "onnx", "onnxscript"),
}
NEEDS = {"onnx": "onnxruntime and numpy", "torch-export": "torch and numpy"}
AHEAD = 4  # blocks that the proof predicts


@dataclass(frozen=True, kw_only=True)
class WorldExportConfig:
    """Write a trained world model for other programs, and prove that they agree with it."""

    run: tyro.conf.Positional[Path]
    """Run folder of `isojepa world train`, or its world_model/."""
    format: GraphFormat = "onnx"
    """onnx or torch-export: one graph from frames in bytes to embeddings, one from embeddings and
    the environment's own actions to the next embedding."""
    out: Path | None = None
    """Folder to write. Default: export-FORMAT in the run folder."""
    overwrite: bool = False
    """Replace what an earlier export wrote there."""


class Encode(nn.Module):
    """Frames in bytes, channels last -> embeddings."""

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, frames: UInt8[Tensor, "n y x c"]) -> Float[Tensor, "n d"]:
        model = self.model
        return model.projector(model.encoder(model.normalise(frames.permute(0, 3, 1, 2))))


class Predict(nn.Module):
    """A window of `history` embeddings and the block of actions after each -> what follows each.

    Attention is causal: of a shorter past the first outputs are right, whatever fills the rest.
    """

    def __init__(self, model: WorldModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, embeddings: Float[Tensor, "b t d"], actions: Float[Tensor, "b t a"]
    ) -> Float[Tensor, "b t d"]:
        model = self.model
        condition = model.condition(model.scale.normalise(actions))
        out = model.predictor(embeddings, condition).flatten(0, 1)
        return model.predictor_projector(out).unflatten(0, (-1, model.history))


def export_graphs(config: WorldExportConfig) -> Path:
    """Write the folder, prove it, and return its path.

    Raises:
        UserError: if there is no world model, it cannot be expressed, the folder is taken, or what
            was written differs from the model by more than 1e-4.
    """
    model = load_world_model(config.run)
    out = config.out or config.run / f"export-{config.format}"
    if out.exists() and not (config.overwrite and (out / PROGRAM.name).is_file()):
        raise UserError(
            f"--out {shown(out)}: already there; "
            + ("give --overwrite" if (out / PROGRAM.name).is_file() else "choose another")
        )
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".part-{out.name}-"))
    try:
        with console.status(f"writing and checking --format {config.format}"):
            write_graphs(config.format, model, part)
            apart = prove(config.format, model, part)
        with writing(out):
            part.chmod(0o755)
            shutil.rmtree(out, ignore_errors=True)
            part.replace(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    log.info("written: %s", shown(out))
    log.info(
        "a fresh process with %s alone agrees on a rollout of %d blocks: largest difference %.1e "
        "(limit %g) of the embeddings' root mean square",
        *(NEEDS[config.format], AHEAD, apart, LIMIT),
    )
    return out


def write_graphs(kind: GraphFormat, model: WorldModel, folder: Path) -> None:
    """Write encoder, predictor, settings and the program that rolls them out."""
    side, channels, history = model.frame_size, len(model.spec.pixel_mean), model.history
    frames = torch.zeros(2, side, side, channels, dtype=torch.uint8)
    window = (
        torch.zeros(2, history, model.embedding_dim),
        torch.zeros(2, history, model.action_dim),
    )
    free = {0: torch.export.Dim.AUTO}
    graphs: tuple[tuple[Any, ...], ...] = (
        ("encoder", Encode(model), (frames,), (free,), ("frames",)),
        ("predictor", Predict(model), window, (free, free), ("window", "actions")),
    )
    save, ending = (save_onnx, "onnx") if kind == "onnx" else (save_torch_export, "pt2")
    for name, graph, example, sizes, names in graphs:
        save(graph.eval(), example, sizes, folder / f"{name}.{ending}", names, f"the {name}")
    write_json(folder / "config.json", model.spec.as_json())
    with writing(folder):
        shutil.copyfile(PROGRAM, folder / PROGRAM.name)


@torch.no_grad()
def prove(kind: GraphFormat, model: WorldModel, folder: Path) -> float:
    """The largest difference of a rollout by the folder alone, over the embeddings' size.

    Frames and actions are drawn: what is compared are two programs, not a model with the world.

    Raises:
        UserError: if the folder's program fails, or differs by more than `LIMIT`.
    """
    rng, t = np.random.default_rng(0), model.history
    shape = (t, model.frame_size, model.frame_size, len(model.spec.pixel_mean))
    frames = rng.integers(0, 256, shape, np.uint8)
    drawn = rng.standard_normal((t - 1 + AHEAD, model.action_dim))
    actions = model.scale.restore(drawn.astype(np.float32))
    z = model.encode(torch.from_numpy(frames).permute(0, 3, 1, 2)[None])
    blocks = model.scale.normalise(torch.from_numpy(actions))[None]
    ahead = model.rollout(z, blocks[:, : t - 1], blocks[:, None, t - 1 :])[0, 0]
    with tempfile.TemporaryDirectory() as place:
        with writing(Path(place)):
            np.savez(Path(place) / "in.npz", frames=frames, actions=actions)
        words = ["out.npz", "in.npz"]
        failed = run_afresh(folder, PROGRAM.name, words, Path(place), FOREIGN[kind])
        if failed is not None:
            raise UserError(
                f"--format {kind}: what was written does not run with {NEEDS[kind]} alone: {failed}"
            )
        with load_arrays(Path(place) / "out.npz") as found:
            theirs = np.concatenate([found["embeddings"], found["predicted"]])
    ours = torch.cat([z[0], ahead]).numpy()
    apart = float(np.abs(theirs - ours).max() / max(np.sqrt(np.square(ours).mean()), 1e-30))
    if not apart <= LIMIT:  # nor where it is not a number
        raise UserError(
            f"--format {kind}: what was written differs by {apart:.1e} from the model, more than "
            f"{LIMIT:g}; nothing was kept"
        )
    return apart
