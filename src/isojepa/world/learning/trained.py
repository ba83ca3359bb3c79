"""A trained world model, and the data set it was trained on or another that fits it."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from isojepa.data.trajectories import Trajectories, open_trajectories
from isojepa.errors import UserError
from isojepa.evaluation.evaluate import choose_device
from isojepa.run_folder import read_run
from isojepa.world.learning.train import check_fits
from isojepa.world.model.world_model import load_world_model

Device = Literal["auto", "cpu", "cuda", "mps"]


class Trained(NamedTuple):
    """A run, read, beside a data set."""

    settings: dict[str, Any]
    """The run's settled configuration."""
    model: Any
    """A `WorldModel`, in eval mode, on its device."""
    data: Path
    trajectories: Trajectories
    own: bool
    """Whether these are the data that the model was trained on."""


def open_trained(
    run: Path, data: Path | None = None, *, device: Device = "auto", cache: Path | None = None
) -> Trained:
    """Read a run and a data set, by default the run's own, through the run's camera.

    Args:
        cache: folder of decoded frames; by default the run's.

    Raises:
        UserError: if either cannot be read, or they do not fit.
    """
    settings = read_run(run).get("config", {})
    own = settings.get("data")
    if data is None and own is None:
        raise UserError(f"{run}: does not say what it was trained on; give --data")
    path = Path(own) if data is None else data
    if cache is None and settings.get("cache"):
        cache = Path(settings["cache"])
    model = load_world_model(run).to(choose_device(device))
    trajectories = open_trajectories(
        path, frame_size=model.frame_size, cache=cache, camera=settings.get("camera")
    )
    check_fits(model, trajectories)
    same = own is not None and Path(own).resolve() == path.resolve()
    return Trained(settings, model, path, trajectories, same)
