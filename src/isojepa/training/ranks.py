"""What the processes of one run have to agree on: failures, signals, and who speaks.

A process that fails alone leaves the others waiting, and they end in a traceback of their own.
Here all of them hear of it, all fail, and the first one says why.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from isojepa.distributed import rank, world_size
from isojepa.errors import UserError

T = TypeVar("T")
LOST = ("Connection closed by peer", "Connection reset", "Connection refused", "Broken pipe")
# By the default group, of which a script may have several in turn
_groups: dict[object, object] = {}


class SaidByFirst(UserError):
    """A failure that the first process tells; this one ends without a word."""


def together(action: Callable[[], T]) -> T:
    """Do something on every rank; what one cannot do for the user's mistake ends all of them.

    Every rank must call it. The words are those of the first rank that failed.

    Raises:
        UserError: on the first rank, and `SaidByFirst` on the others, if any of them raised one.
    """
    if world_size() == 1:
        return action()
    result, error = None, None
    try:
        result = action()
    except UserError as caught:
        error = caught
    if largest(int(error is not None)):
        words: list[str | None] = [None] * world_size()
        dist.all_gather_object(words, None if error is None else str(error), group=_group())
        failed = next(i for i, text in enumerate(words) if text is not None)
        if rank() != 0:
            raise SaidByFirst(str(words[failed])) from error
        if failed == 0 and error is not None:
            raise error
        raise UserError(f"process {failed} of {world_size()}: {words[failed]}") from error
    return result  # type: ignore[return-value]


def on_first(action: Callable[[], object]) -> None:
    """Do something on the first rank only, while the others wait; its failure is everybody's."""
    together(action if rank() == 0 else lambda: None)


def largest(number: int) -> int:
    """The largest of the ranks' numbers."""
    if world_size() == 1:
        return number
    value = torch.tensor([number])
    dist.all_reduce(value, op=dist.ReduceOp.MAX, group=_group())
    return int(value.item())


def of_every(value: T) -> list[T]:
    """The value of every rank, in their order."""
    if world_size() == 1:
        return [value]
    found: list[T | None] = [None] * world_size()
    dist.all_gather_object(found, value, group=_group())
    return found  # type: ignore[return-value]


def lost_another(error: BaseException) -> bool:
    """Whether torch says that another process of this run has ended."""
    if world_size() == 1 or not isinstance(error, RuntimeError):
        return False
    network = getattr(dist, "DistNetworkError", ())
    return isinstance(error, network) or any(words in str(error) for words in LOST)


def _group() -> dist.ProcessGroup | None:
    """A group on the processors: agreeing does not wait for what a GPU is doing."""
    whole = dist.group.WORLD
    if whole not in _groups:
        _groups.clear()
        _groups[whole] = dist.new_group(backend="gloo")
    return _groups[whole]  # type: ignore[return-value]
