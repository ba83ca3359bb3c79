"""The model of what N GPUs exchange is what two and three processes exchange."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
import scale


@pytest.mark.parametrize("world", [2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("exact", [False, True])
def test_what_is_exchanged_is_counted_exactly(world: int, exact: bool) -> None:
    shape = {"views": 3, "n": 5, "d": 4}
    directions = "exact" if exact else "random"
    seen = scale.counted(world=world, **shape, slices=8, knots=5, directions=directions)
    expected = scale.objective_payload(**shape, slices=8, knots=5, exact=exact)
    assert seen == [expected] * world


def test_more_gpus_cost_more_and_one_costs_nothing() -> None:
    config = scale.ScaleConfig()
    costs = [scale.cost(config, gpus) for gpus in (1, 2, 8, 64, 1024)]
    assert costs[0].efficiency == pytest.approx(1)
    assert all(a.efficiency > b.efficiency for a, b in pairwise(costs))
    by_hand = 2 * 17 * 1024 * 8 * 4 * 2  # floats of a forward and a backward pass, in bytes
    found = scale.objective_payload(views=8, n=64, d=64, slices=1024, knots=17, exact=False)
    assert found.reduced == pytest.approx(by_hand, rel=1e-3)
    page = Path(scale.__file__).parents[1] / "docs" / "explanation" / "scale.md"
    for exact in (False, True):
        assert scale.table(scale.ScaleConfig(exact=exact)) in page.read_text()
