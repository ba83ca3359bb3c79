"""Two processes agree: one fails, both end, and the first says why."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from isojepa.errors import UserError
from isojepa.training.ranks import SaidByFirst, largest, lost_another, on_first, together


def _fail_on(failing: tuple[int, ...], rank: int) -> int:
    if rank in failing:
        raise UserError(f"no space on {rank}")
    return rank


def _agree(rank: int, place: str, answers: Any) -> None:
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    seen: list[Any] = [together(lambda: rank), largest(rank * 15)]
    for failing in ((0,), (1,), (0, 1)):
        try:
            together(lambda failing=failing: _fail_on(failing, rank))
        except UserError as error:
            seen.append((type(error).__name__, str(error)))
    try:
        on_first(lambda: _fail_on((0,), 0))
    except UserError as error:
        seen.append(type(error).__name__)
    answers.put((rank, seen))
    dist.barrier()
    dist.destroy_process_group()


def test_a_failure_on_any_rank_ends_all_with_one_voice(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [
        context.Process(target=_agree, args=(rank, str(tmp_path / "store"), answers))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    seen = dict(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
    assert seen[0] == [
        *(0, 15),
        ("UserError", "no space on 0"),
        ("UserError", "process 1 of 2: no space on 1"),
        ("UserError", "no space on 0"),
        "UserError",
    ]
    assert seen[1] == [
        *(1, 15),
        ("SaidByFirst", "no space on 0"),
        ("SaidByFirst", "no space on 1"),
        ("SaidByFirst", "no space on 0"),
        "SaidByFirst",
    ]


def test_one_process_needs_nobody() -> None:
    assert together(lambda: 3) == 3
    assert largest(7) == 7
    with pytest.raises(UserError, match="no space") as caught:
        on_first(lambda: _fail_on((0,), 0))
    assert not isinstance(caught.value, SaidByFirst)
    assert not lost_another(RuntimeError("Connection closed by peer"))
