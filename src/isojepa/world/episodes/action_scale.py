"""Actions in units of their spread over training episodes."""

from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

Array = TypeVar("Array", np.ndarray, Tensor)


class ActionScale(NamedTuple):
    """Mean and deviation of each action dimension of the environment, over training episodes."""

    mean: Float[Tensor, " a"]
    std: Float[Tensor, " a"]

    def normalise(self, actions: Array) -> Array:
        """Actions, or blocks of them one after the other in the last axis, in units of `std`."""
        mean, std = self._like(actions)
        return (actions - mean) / std

    def restore(self, actions: Array) -> Array:
        """The inverse of `normalise`."""
        mean, std = self._like(actions)
        return actions * std + mean

    def _like(self, actions: Array) -> tuple[Array, Array]:
        times = actions.shape[-1] // max(1, len(self.mean))
        mean, std = self.mean.repeat(times), self.std.repeat(times)
        if isinstance(actions, np.ndarray):
            return mean.numpy().astype(actions.dtype), std.numpy().astype(actions.dtype)
        return mean.to(actions), std.to(actions)
