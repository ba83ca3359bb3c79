"""Devices without float64, such as Apple's: nothing there is ever asked for it."""

from typing import Any

import pytest
import torch
from torch import Tensor

from isojepa.world.planners.distances import EmbeddingGraph


class Single(Tensor):
    """A tensor of a device that has no float64, as MPS has none; its `cpu()` is an ordinary one."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.cpu:
            return super().__torch_function__(func, types, args, kwargs).as_subclass(Tensor)
        out = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(out, Tensor) and out.dtype == torch.float64:
            raise TypeError(f"{func.__name__}: this device has no float64")
        return out


def test_the_stand_in_refuses_float64() -> None:
    x = torch.ones(2).as_subclass(Single)
    with pytest.raises(TypeError, match="no float64"):
        x.double()
    assert x.cpu().double().dtype == torch.float64


def test_the_graph_of_embeddings_needs_no_float64_on_the_device() -> None:
    z = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    usual = EmbeddingGraph.build(z, neighbours=4).towards(z[:2])
    there = z.as_subclass(Single)
    found = EmbeddingGraph.build(there, neighbours=4).towards(there[:2])
    torch.testing.assert_close(found.lengths.as_subclass(Tensor), usual.lengths)
