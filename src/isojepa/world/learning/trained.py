"""A trained world model, and the data set it was trained on or another that fits it."""

from pathlib import Path
from typing import NamedTuple

from isojepa.boundaries import shown
from isojepa.devices import Device, choose_device
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.runs.record import read_run
from isojepa.world.episodes.trajectories import Trajectories, open_trajectories
from isojepa.world.learning.split import Split, known_split, report_split
from isojepa.world.learning.windows import check_fits
from isojepa.world.model.world_model import WorldModel, load_world_model


class Trained(NamedTuple):
    """A run, read, beside a data set."""

    settings: Json
    """The run's settled configuration."""
    model: WorldModel
    """In eval mode, on its device."""
    data: Path
    trajectories: Trajectories
    split: Split
    """Its episodes, by what the run has done with them."""


def open_trained(
    run: Path,
    data: Path | None = None,
    *,
    device: Device = "auto",
    cache: Path | None = None,
    new: bool = False,
) -> Trained:
    """Read a run and a data set, by default the run's own, through the run's camera.

    Which episodes were trained on is told by their content, wherever the data set now lies.

    Args:
        cache: folder of decoded frames; by default the run's.
        new: whether episodes added since training are to be tested on, for what is said of them.

    Raises:
        UserError: if either cannot be read, or they do not fit.
    """
    record = read_run(run)
    settings = record.config
    own = settings.get("data")
    if data is None and own is None:
        raise UserError(f"{shown(run)}: does not say what it was trained on; give --data")
    path = Path(str(own)) if data is None else data
    if data is None and not path.exists():
        looked = "" if path.is_absolute() else f", looked for in {shown(Path.cwd())}"
        raise UserError(
            f"{shown(path)}: no such data set{looked}, though {shown(run)} was trained on it; "
            "give --data with the place where it is now"
        )
    kept = settings.get("cache")
    if cache is None and kept:
        cache = Path(kept)
    model = load_world_model(run).to(choose_device(device))
    trajectories = open_trajectories(
        path, frame_size=model.frame_size, cache=cache, camera=settings.get("camera")
    )
    check_fits(model, trajectories)
    same = own is not None and Path(own).resolve() == path.resolve()
    split = known_split(run, record, trajectories, same_place=same)
    report_split(split, run, path, new=new)
    return Trained(settings, model, path, trajectories, split)
