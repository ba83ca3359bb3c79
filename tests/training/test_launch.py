"""Who started the process, and how many: an allocation alone starts none."""

import pytest
from lightning_fabric.plugins.environments import LightningEnvironment, SLURMEnvironment

from isojepa.errors import UserError
from isojepa.training import launch
from isojepa.training.launch import Started, start_fabric, started_by

JOB = {"SLURM_JOB_NAME": "train", "SLURM_JOB_ID": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
CASES = [
    ({}, None),
    (JOB | {"SLURM_NTASKS": "4"}, None),
    (JOB | {"SLURM_NTASKS": "4", "SLURM_NTASKS_PER_NODE": "4"}, None),
    (JOB | {"SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"}, None),  # srun -n 1 inside
    (JOB | {"SLURM_NTASKS": "4"} | STEP, Started("srun", 4, 2)),
    (JOB | {"SLURM_NTASKS": "4", "SLURM_PROCID": "2"}, Started("srun", 4, 1)),
    ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, None),  # left over
    (TORCHRUN, Started("torchrun", 4, 2)),
    (TORCHRUN | {"WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}, None),
    (JOB | {"SLURM_NTASKS": "many"}, None),
]


@pytest.mark.parametrize(("environment", "expected"), CASES)
def test_who_started_it(environment: dict[str, str], expected: Started | None) -> None:
    assert started_by(environment) == expected


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*JOB, *STEP, *TORCHRUN, "SLURM_NTASKS", "SLURM_NTASKS_PER_NODE", "SLURM_NNODES",
                 "LOCAL_RANK", "MASTER_ADDR"):  # fmt: skip
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_one_device_in_an_allocation_of_four_tasks(environment: pytest.MonkeyPatch) -> None:
    for name, value in (JOB | {"SLURM_NTASKS": "4"}).items():
        environment.setenv(name, value)
    assert start_fabric("cpu", 1, "auto").world_size == 1
    place = launch._places(2)
    assert place["devices"] == 2
    assert isinstance(place["plugins"][0], LightningEnvironment)


def test_left_over_ranks_do_not_keep_others_from_being_launched(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv("LOCAL_RANK", "0")
    assert not launch._places(2)["plugins"][0].creates_processes_externally


def test_srun_starts_what_was_asked_for_or_is_told(environment: pytest.MonkeyPatch) -> None:
    for name, value in (JOB | {"SLURM_NTASKS": "8"} | STEP).items():
        environment.setenv(name, value)
    place = launch._places(4)
    assert (place["devices"], place["num_nodes"]) == (2, 2)
    assert isinstance(place["plugins"][0], SLURMEnvironment)
    assert place["plugins"][0].world_size() == 4
    with pytest.raises(UserError, match=r"--devices 1: srun started 4 processes.*--devices 4"):
        start_fabric("cpu", 1, "auto")


def test_half_precision_needs_a_gpu() -> None:
    with pytest.raises(UserError, match="--precision 16-mixed"):
        start_fabric("cpu", 1, "16-mixed")
