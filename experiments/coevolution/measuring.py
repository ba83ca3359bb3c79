"""What is asked of a finished cell: its curve, and what its representation holds over time.

Frozen embeddings of frames from a random walk are read by ridge regression: the state, the
distractors, and the reward. Half of the episodes fit, the other half score (R^2).
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from arms import TASKS, Cell
from safetensors.torch import load_file

from isojepa.files import Json
from isojepa.runs.metrics import read_metrics
from isojepa.world import Agent, evaluate_agent, load_agent, make_pixel_env, parse_options, stacked

RIDGE = 1e-3
CURVES = ("test_return", "test_success", "effective_rank", "dormant", "gaussianity_p", "deviation")
Rows = list[dict[str, Any]]


class Walk(NamedTuple):
    """Frames of a random walk and what is true of them."""

    frames: torch.Tensor
    """(n, 1, c, y, x), stacked."""
    truth: dict[str, np.ndarray]
    """Names to (n, k)."""
    fit: np.ndarray
    """Which rows fit; the others score."""


def random_walk(cell: Cell, agent: Agent, rows: int) -> Walk:
    """Episodes of held random actions, the same for all arms of a seed."""
    task, spec = TASKS[cell.task], agent.spec
    env = make_pixel_env(
        spec.env, frame_size=spec.world.frame_size, options=parse_options(task.option)
    )
    random = np.random.default_rng([cell.seed, 77])
    frames: list[np.ndarray] = []
    state, dots, rewards, episode = [], [], [], []
    seen, count = [env.reset(int(random.integers(2**31)))], 0
    while len(frames) < rows:
        action = random.uniform(-1, 1, env.actions.a).astype(np.float32)
        for _ in range(spec.world.frame_skip):
            step = env.step(action)
            if step.terminated or step.truncated:
                break
        seen = [*seen, step.frame][-spec.stack :]
        frames.append(stacked(seen, spec.stack))
        true = step.info.get("state", step.info.get("qpos"))
        state.append(np.asarray(true)[list(task.state)])
        dots.append(np.ravel(step.info["distractors"]))
        rewards.append([step.reward])
        episode.append(count)
        if step.terminated or step.truncated:
            count += 1
            seen = [env.reset(int(random.integers(2**31)))]
    env.close()
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)[:, None]
    truth = {"state": np.array(state), "distractors": np.array(dots), "reward": np.array(rewards)}
    blocks = np.array(episode) if count > 3 else np.arange(rows) // max(1, rows // 10)
    return Walk(pixels, truth, blocks % 2 == 0)


@torch.no_grad()
def probe(agent: Agent, walk: Walk) -> dict[str, float]:
    """Held-out R^2 of a ridge regression on frozen embeddings, for each truth that varies."""
    z = torch.cat([agent.encode(part)[:, 0] for part in walk.frames.split(256)]).double().numpy()
    scores = {}
    for name, y in walk.truth.items():
        if y[walk.fit].std() < 1e-9 or y[~walk.fit].std() < 1e-9:
            continue
        scores[f"probe_{name}"] = ridge_r2(z[walk.fit], y[walk.fit], z[~walk.fit], y[~walk.fit])
    return scores


def ridge_r2(x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray) -> float:
    """R^2 on the test rows, the mean over y's columns; inputs standardised by the fitted rows."""
    mean, std = x.mean(0), x.std(0) + 1e-9
    x, x_test, centre = (x - mean) / std, (x_test - mean) / std, y.mean(0)
    gram = x.T @ x + RIDGE * len(x) * np.eye(x.shape[1])
    left = y_test - centre - x_test @ np.linalg.solve(gram, x.T @ (y - centre))
    spread = ((y_test - y_test.mean(0)) ** 2).sum(0)
    return float(np.mean(1 - (left**2).sum(0)[spread > 0] / spread[spread > 0]))


def measure(cell: Cell, out: Path, rows: int) -> Rows:
    """All numbers of a finished cell, a dictionary each, for the CSV."""
    folder = cell.folder(out)
    agent = load_agent(folder / "run")
    walk = random_walk(cell, agent, rows)
    found: Rows = []

    def note(steps: int, metric: str, value: float) -> None:
        key = {"task": cell.task, "arm": cell.arm, "seed": cell.seed}
        found.append({**key, "env_steps": steps, "metric": metric, "value": value})

    lines = read_metrics(folder / "run")
    for line in lines:
        for name in CURVES:
            if line.get(name) is not None:
                note(line["env_steps"], name, line[name])
    for name, value in probe(agent, walk).items():
        note(lines[-1]["env_steps"], name, value)
    for checkpoint in sorted((folder / "run" / "checkpoints").glob("step-*")):
        steps = _steps_at(int(checkpoint.name.split("-")[1]), lines)
        agent.load_state_dict(load_file(checkpoint / "model.safetensors"))
        for name, value in probe(agent, walk).items():
            note(steps, f"{name}_over_time", value)
    note(lines[-1]["env_steps"], "changed_return", changed_return(cell, folder / "run"))
    if (folder / "transfer" / "learnt.json").is_file():
        last = [x["test_return"] for x in read_metrics(folder / "transfer") if "test_return" in x]
        note(lines[-1]["env_steps"], "transfer_return", last[-1])
    return found


def changed_return(cell: Cell, run: Path) -> float:
    """The mean return where the distractors look otherwise."""
    agent, config = load_agent(run), cell.main(run)
    options = parse_options(TASKS[cell.task].changed)
    envs = [
        make_pixel_env(config.env, frame_size=agent.spec.world.frame_size, options=options)
        for _ in range(config.test_episodes)
    ]
    tested = evaluate_agent(agent, envs, seed=cell.seed, evaluation=0, horizon=config.plan)
    for env in envs:
        env.close()
    return float(tested.returns.mean())


def _steps_at(update: int, lines: list[Json]) -> int:
    return int(min(lines, key=lambda line: abs(line["step"] - update))["env_steps"])
