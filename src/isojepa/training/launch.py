"""How a run begins: its processes and devices, its folder and its trackers."""

import logging
import os
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from isojepa.boundaries import reason
from isojepa.devices import Device, choose_device
from isojepa.distributed import world_size
from isojepa.errors import UserError
from isojepa.files import Json
from isojepa.progress import set_up_logging
from isojepa.runs.config import RunConfig
from isojepa.runs.folder import make_run_folder
from isojepa.runs.record import RunRecord
from isojepa.training.ranks import on_first
from isojepa.training.trackers import Trackers, open_trackers


class Started(NamedTuple):
    """Processes that something else has started for this run."""

    by: str
    processes: int
    nodes: int


def started_by(environment: Mapping[str, str]) -> Started | None:
    """Who started this process as one of several, by its environment variables; None if nobody.

    A SLURM allocation alone starts nothing: only srun sets the variables of a step, and its own
    number of tasks. What a torchrun that has ended left behind does not count either.
    """

    def number(*names: str) -> int:
        found = (environment.get(name, "") for name in names)
        return next((int(x) for x in found if x.isdigit()), 0)

    if "TORCHELASTIC_RUN_ID" in environment:
        whole, here = number("WORLD_SIZE"), number("LOCAL_WORLD_SIZE")
        if whole > 1:
            return Started("torchrun", whole, whole // here if here else 1)
        return None
    tasks = number("SLURM_STEP_NUM_TASKS")
    if not tasks and number("SLURM_PROCID"):  # an allocation's own script is always task 0
        tasks = number("SLURM_NTASKS")
    if tasks > 1:
        nodes = number("SLURM_STEP_NUM_NODES", "SLURM_NNODES") or 1
        return Started("srun", tasks, nodes)
    return None


def start_fabric(device: Device, devices: int, precision: str) -> Fabric:
    """Lightning Fabric on the device, and with the precision, asked for or found.

    Raises:
        UserError: if there is no such device, or not as many, or srun or torchrun started another
            number of processes.
    """
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    settled: Any = precision
    on_gpu = torch.cuda.is_available() and device in {"auto", "cuda"}
    if precision == "auto":
        settled = "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"
    on_mps = torch.backends.mps.is_available() and device in {"auto", "mps"}
    if precision == "16-mixed" and not on_gpu and not on_mps:
        raise UserError(
            "--precision 16-mixed: a CPU has no such arithmetic; use bf16-mixed, or leave it out"
        )
    place = _places(devices)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning_fabric")
            fabric = Fabric(accelerator=device, precision=settled, **place)
            fabric.launch()
    except (RuntimeError, ValueError) as error:
        if type(error).__module__.startswith("lightning") or "accelerator" in str(error).lower():
            raise UserError(f"--device {device}: {reason(error)}") from error
        if "MisconfigurationException" in type(error).__name__:
            raise UserError(f"--device {device} --devices {devices}: {reason(error)}") from error
        raise
    if fabric.world_size != devices:
        raise UserError(
            f"--devices {devices}: {fabric.world_size} processes were started; check what SLURM or "
            "torchrun was asked for"
        )
    return fabric


def start_processes(device: Device, devices: int) -> torch.device:
    """The device of this process, one of as many as asked for; for what computes without training.

    Raises:
        UserError: if there is no such device, or not as many, or srun or torchrun started another
            number of processes.
    """
    if devices > 1:
        return start_fabric(device, devices, "32-true").device
    started = started_by(os.environ)
    if started is not None and world_size() == 1:
        raise UserError(
            f"{started.by} started {started.processes} processes: give --devices "
            f"{started.processes}, to share the work among them"
        )
    return choose_device(device)


def _places(devices: int) -> Json:
    """Fabric's devices, nodes and plugins for that many processes in all."""
    started = started_by(os.environ)
    if started is None:
        if "MASTER_ADDR" not in os.environ:  # else Lightning, or the user, has started this one
            os.environ.pop("LOCAL_RANK", None)
        return {"devices": devices, "plugins": [LightningEnvironment()]}
    if devices != started.processes:
        raise UserError(
            f"--devices {devices}: {started.by} started {started.processes} processes for this "
            f"run; give --devices {started.processes}, or have {started.by} start one"
        )
    if started.processes % started.nodes:
        raise UserError(
            f"--devices {devices}: {started.processes} processes on {started.nodes} nodes; have "
            f"{started.by} start as many on each"
        )
    place = {"devices": devices // started.nodes, "num_nodes": started.nodes}
    if started.by != "srun":
        return place
    os.environ["SLURM_NTASKS"] = str(started.processes)  # of the step, not of the allocation
    os.environ["SLURM_NTASKS_PER_NODE"] = str(devices // started.nodes)
    os.environ["SLURM_NNODES"] = str(started.nodes)
    return {**place, "plugins": [SLURMEnvironment(auto_requeue=False)]}


def open_run(fabric: Fabric, config: RunConfig, stored: RunRecord | None) -> Trackers:
    """Make the run's folder and log file and reach its trackers, before the data are read.

    Args:
        config: says where, and whether to go on with what is there or to replace it.
        stored: the record of a run to go on with.

    Raises:
        UserError: see `make_run_folder` and `open_trackers`.
    """
    found = Trackers([])

    def begin() -> None:
        nonlocal found
        make_run_folder(config.out, resume=config.resume, overwrite=config.overwrite)
        set_up_logging(config.out / "log.txt")
        found = open_trackers(
            config.out,
            tensorboard=config.tensorboard,
            wandb=config.wandb,
            mlflow=config.mlflow,
            stored=stored,
        )

    if fabric.global_rank != 0:
        logging.getLogger("isojepa").setLevel(logging.ERROR)  # one voice is enough
    on_first(begin)
    return found


def require_shares(fabric: Fabric, batch_size: int) -> None:
    """Raise `UserError` unless every process gets a part of each batch."""
    if batch_size < fabric.world_size:
        raise UserError(
            f"--batch-size {batch_size} --devices {fabric.world_size}: the batch is shared among "
            f"the devices; give at least {fabric.world_size}, or fewer devices"
        )
