"""What values are trained towards."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def n_step_returns(
    rewards: Float[Tensor, "b t"],
    values: Float[Tensor, "b t"],
    going: Bool[Tensor, "b p"],
    terminated: Bool[Tensor, "b t"],
    *,
    discount: float,
    n: int,
) -> Float[Tensor, "b p"]:
    """Discounted rewards of up to n steps and the discounted value where they end.

    They end after n steps, at the end of the window, or where the episode was cut; where the task
    was over nothing follows.

    Args:
        rewards: item i was received on the way to row i.
        values: of the states of the rows.
        going: whether row i + 1 follows row i in the same episode; p = t - 1.
        terminated: whether the task was over at row i.

    Returns:
        Of rows 0 to t - 2; without meaning where `going` is False.
    """
    ahead = torch.where(terminated, torch.zeros_like(values), values)
    returns = ahead
    for _ in range(n):
        step = rewards[:, 1:] + discount * returns[:, 1:]
        returns = torch.cat([torch.where(going, step, ahead[:, :-1]), ahead[:, -1:]], 1)
    return returns[:, :-1]
