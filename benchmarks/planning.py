"""Time per plan, side by side: the platform's CEMSolver with its LeWM against ours, same weights.

One process, the published architecture (18 M parameters, 224 px, horizon 5), one observation and
goal at a time; each row of the table adds one thing to the row above, so that its share shows. The
weights are random, with modulations that are not 0. Where planning stops early depends on them;
with a trained model it is measured too:

    python benchmarks/planning.py --run RUN --data DATA

plays 200 pairs of the strict protocol twice, with the platform's planner settings and with ours,
and gives time and sequences per plan, and a two-sided 95 % interval on the difference in success.

Cost: 6 minutes of one core without --run. `--quick`: half a minute, with fewer candidates.
Needs the extra `world`.
"""

import contextlib
import io
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from isojepa.world import (
    CEM,
    OURS,
    PlanConfig,
    Planner,
    Problem,
    WeightedCost,
    WorldModel,
    from_platform,
    last_step,
    open_control,
    shifted,
    success_of,
)

HORIZON, ACTIONS, SIDE = 5, 10, 224
Rollout = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    quick: bool = False
    """Fewer candidates, iterations and turns."""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu counts this process's time on all its threads, for a machine that is busy otherwise."""
    turns: int = 3
    """Plans per row; the ratio is taken turn by turn, and its median shown."""
    run: Path | None = None
    """A trained run, to compare success as well; skipped without."""
    data: Path | None = None
    """Its data set. Default: the run's own."""
    pairs: int = 200
    """Start and goal pairs of that comparison."""


def platform_lewm() -> Any:
    """The published architecture, with random weights that are nowhere 0."""
    from stable_worldmodel.wm.lewm.lewm import LeWM
    from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor
    from transformers import ViTConfig, ViTModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3}
    vit = ViTConfig(**sizes, intermediate_size=768, image_size=SIDE, patch_size=14)
    predictor = Predictor(
        num_frames=3, depth=6, heads=16, mlp_dim=2048, input_dim=192, hidden_dim=192,
        dim_head=64, dropout=0.1,
    )  # fmt: skip
    model = LeWM(
        ViTModel(vit, add_pooling_layer=False),
        predictor,
        Embedder(ACTIONS, ACTIONS, 192),
        MLP(192, 2048, 192, norm_fn=nn.BatchNorm1d),
        MLP(192, 2048, 192, norm_fn=nn.BatchNorm1d),
    ).eval()
    with torch.no_grad():  # the modulation starts at 0: actions would have no effect
        for name, x in model.named_parameters():
            if "adaLN" in name:
                x.add_(0.05 * torch.randn_like(x))
    return model.requires_grad_(False)


def platform_plan(model: Any, size: CEM) -> Callable[[Tensor, Tensor], None]:
    """One plan by the platform's solver."""
    import gymnasium
    from stable_worldmodel.policy import PlanConfig
    from stable_worldmodel.solver import CEMSolver

    solver = CEMSolver(
        model, num_samples=size.candidates, n_steps=size.iterations, topk=size.elites
    )
    space = gymnasium.spaces.Box(-1, 1, (1, ACTIONS // 5))
    config = PlanConfig(horizon=HORIZON, receding_horizon=HORIZON, action_block=5)
    solver.configure(action_space=space, n_envs=1, config=config)

    def plan(frame: Tensor, goal: Tensor) -> None:
        info = {"pixels": frame, "goal": goal, "action": torch.zeros(1, 1, ACTIONS)}
        with contextlib.redirect_stdout(io.StringIO()):
            solver.solve(info)

    return plan


def windows_anew(model: WorldModel) -> Rollout:
    """Every window of every candidate computed from its beginning, modulations included."""

    def rollout(z: Tensor, candidates: Tensor) -> Tensor:
        s, h = candidates.shape[1:3]
        blocks, own = candidates[0], [z[0].expand(s, -1)]
        for t in range(h):
            first = max(0, t + 1 - model.history)
            window = torch.stack(own[first:], 1)
            own.append(model.predict(window, blocks[:, first : t + 1])[:, -1])
        return torch.stack(own[1:], 1)[None]

    return rollout


def modulated_once(model: WorldModel) -> Rollout:
    """The same with the actions' modulations computed once per candidate."""
    predictor: Any = model.predictor

    def rollout(z: Tensor, candidates: Tensor) -> Tensor:
        s, h = candidates.shape[1:3]
        assert model.action_encoder is not None
        modulations = predictor.modulations(model.action_encoder(candidates[0]))
        own = [z[0].expand(s, -1)]
        for t in range(h):
            first = max(0, t + 1 - model.history)
            window = torch.stack(own[first:], 1)
            x = predictor.enter(window + predictor.positions[:, : window.shape[1]])
            for block, modulation in zip(predictor.blocks, modulations):
                x, _ = block(x, modulation[:, first : t + 1])
            own.append(model.predictor_projector(predictor.leave(predictor.norm(x[:, -1]))))
        return torch.stack(own[1:], 1)[None]

    return rollout


def cached(model: WorldModel) -> Rollout:
    """Ours: keys and values kept while the window grows, the last block for the newest token."""
    return lambda z, candidates: model.rollout(z, candidates[:, 0, :0], candidates)


class OurPlan:
    """Plan with our planner; the goal is encoded anew only if `goal_again`."""

    def __init__(
        self,
        model: WorldModel,
        rollout: Rollout,
        planner: Planner,
        *,
        goal_again: bool = False,
        warm: int | None = None,
    ) -> None:
        self.model, self.rollout, self.planner = model, rollout, planner
        self.goal_again, self.warm = goal_again, warm
        self.goal: Tensor | None = None
        self.last: Tensor | None = None
        self.evaluations: list[int] = []

    @torch.no_grad()
    def __call__(self, frame: Tensor, goal: Tensor) -> None:
        if self.goal is None or self.goal_again:
            self.goal = self.model.encode(goal)[:, 0]
        z = self.model.encode(frame)
        cost = WeightedCost(lambda x: self.rollout(z, x), [(1.0, last_step(self.goal))])
        free = torch.full((ACTIONS,), torch.inf)
        start = torch.zeros(1, HORIZON, ACTIONS)
        if self.warm is not None and self.last is not None:
            start = shifted(self.last, self.warm)
        problem = Problem(start, -free, free)
        plan = self.planner.plan(cost, problem, torch.Generator().manual_seed(0))
        self.last = plan.actions
        self.evaluations.append(int(plan.evaluations.sum()))


def ladder(quick: bool) -> tuple[dict[str, Callable[[Tensor, Tensor], None]], CEM]:
    """The rows of the table, each with one thing more."""
    theirs = platform_lewm()
    model = from_platform(theirs)
    published = CEM(candidates=60, elites=6, iterations=3) if quick else CEM()
    ours: Any = OURS.planner
    if quick:
        ours = replace(ours, candidates=ours.candidates // 5, elites=max(2, ours.elites // 5))
    stopping = replace(published, tolerance=ours.tolerance, improvement=ours.improvement)
    fold, half = model.for_planning(), model.for_planning(torch.bfloat16)
    exact = OurPlan(half, cached(half), published)
    rows: dict[str, Callable[[Tensor, Tensor], None]] = {
        "platform: CEMSolver, LeWM": platform_plan(theirs, published),
        "ours, every window anew": OurPlan(model, windows_anew(model), published, goal_again=True),
        "+ goal encoded once per episode": OurPlan(model, windows_anew(model), published),
        "+ modulation once": OurPlan(model, modulated_once(model), published),
        "+ keys and values, newest token": OurPlan(model, cached(model), published),
        "+ norms folded away": OurPlan(fold, cached(fold), published),
        "+ bfloat16 rollout": exact,
        "+ adaptive stopping": OurPlan(half, cached(half), stopping),
        "+ iCEM, fewer sequences": OurPlan(half, cached(half), ours),
        "+ warm start": OurPlan(half, cached(half), ours, warm=1),
        "as the line above, float32": OurPlan(fold, cached(fold), ours, warm=1),
    }
    return rows, published


def time_ladder(config: Config, console: Console) -> dict[str, float]:
    """Run all rows in turns; print the table and return the ratios."""
    rows, size = ladder(config.quick)
    now = time.perf_counter if config.clock == "wall" else time.process_time
    generator = torch.Generator().manual_seed(1)
    times: dict[str, list[float]] = {name: [] for name in rows}
    goal = torch.randn(1, 1, 3, SIDE, SIDE, generator=generator).sigmoid()
    for turn in range(config.turns + 1):  # the first warms up
        frame = torch.randn(1, 1, 3, SIDE, SIDE, generator=generator).sigmoid()
        for name, plan in rows.items():
            begin = now()
            plan(frame, goal)
            if turn:
                times[name].append(now() - begin)
    first = next(iter(rows))
    table = Table(
        title=f"Seconds per plan: {size.iterations} iterations of {size.candidates} sequences, "
        f"horizon {HORIZON}; median of {config.turns}, {config.clock} time, "
        f"threads: {torch.get_num_threads()}"
    )
    for column in ("", "seconds", "sequences", "times faster", "than row above"):
        table.add_column(column, justify="left" if not column else "right")
    ratios, before = {}, times[first]
    for name, plan in rows.items():
        over, step = (
            statistics.median(a / b for a, b in zip(x, times[name])) for x in (times[first], before)
        )
        tried = plan.evaluations[-1] if isinstance(plan, OurPlan) else _sequences(size)
        seconds = statistics.median(times[name])
        table.add_row(name, f"{seconds:.2f}", str(tried), f"{over:.2f}", f"{step:.2f}")
        if name != first:
            ratios[name.removeprefix("+ ")] = round(over, 2)
        before = times[name]
    console.print(table)
    return ratios


def _sequences(size: CEM) -> int:
    return size.candidates * size.iterations


def compare_success(config: Config, console: Console) -> dict[str, float]:
    """Play the same pairs with the platform's settings and with ours."""
    if config.run is None:
        console.print("success not compared: give --run RUN, a trained world model")
        return {}
    pairs = min(config.pairs, 20) if config.quick else config.pairs
    base = PlanConfig(run=config.run, data=config.data, protocol="strict", pairs=pairs)
    results = {}
    for name, recipe in (("platform's settings", "published"), ("ours", "ours")):
        control = open_control(replace(base, recipe=recipe))  # type: ignore[arg-type]
        results[name] = success_of(control, seed=0)
    table = Table(title=f"{pairs} pairs, strict protocol, {config.run}")
    for column in ("", "success", "seconds per plan", "sequences per plan", "plans per episode"):
        table.add_column(column, justify="left" if not column else "right")
    for name, outcome in results.items():
        table.add_row(
            name,
            f"{outcome.success.mean():.3f}",
            f"{outcome.plan_seconds:.4f}",
            f"{outcome.evaluations:.0f}",
            f"{outcome.plans / pairs:.1f}",
        )
    console.print(table)
    theirs, ours = results.values()
    difference, low, high = paired_difference(ours.success, theirs.success)
    console.print(f"difference {difference:+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}]")
    return {
        "trained model, time per plan": round(theirs.plan_seconds / ours.plan_seconds, 2),
        "trained model, time per episode": round(
            theirs.plan_seconds * theirs.plans / (ours.plan_seconds * ours.plans), 2
        ),
        "success difference": round(difference, 4),
        "success difference, lower end": round(low, 4),
        "success difference, upper end": round(high, 4),
    }


def paired_difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Mean of a - b over pairs, with the 95 % interval of Agresti and Min (2005)."""
    n = len(a) + 2
    gained, lost = (a & ~b).sum() + 0.5, (b & ~a).sum() + 0.5
    centre = (gained - lost) / n
    half = 1.96 * math.sqrt((gained + lost) - (gained - lost) ** 2 / n) / n
    return float(a.mean() - b.mean()), float(centre - half), float(centre + half)


def main(config: Config) -> None:
    """Print the tables and, last, the line of JSON."""
    console = Console()
    if config.quick:
        config = replace(config, turns=1)
    ratios = time_ladder(config, console) | compare_success(config, console)
    print(json.dumps({"benchmark": "planning", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
