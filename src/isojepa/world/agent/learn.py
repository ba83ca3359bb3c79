"""`isojepa world learn`: act, store, learn, and act better."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from lightning_fabric import Fabric
from torch import nn

from isojepa.files import Json
from isojepa.objective.sigreg import SIGReg
from isojepa.runs.record import RunRecord
from isojepa.runs.resume import resumed
from isojepa.runs.settings import as_json
from isojepa.runs.typed import write_result
from isojepa.training.launch import open_run, start_fabric
from isojepa.training.optimise import adamw, optimise
from isojepa.training.recorder import Recorder, Stateful, due
from isojepa.training.trackers import Trackers
from isojepa.training.watched import watched
from isojepa.world.agent.agent import FOLDER, Agent, States, export_agent
from isojepa.world.agent.config import LearnConfig, parse_options
from isojepa.world.agent.evaluation import evaluate_agent
from isojepa.world.agent.experience import Experience, act_and_recall
from isojepa.world.agent.film import write_film
from isojepa.world.agent.imagination import imagined_frames
from isojepa.world.agent.learnt import LEARNT
from isojepa.world.agent.measures import measure_agent
from isojepa.world.agent.objective import AgentBatch, AgentLoss, AgentTerms
from isojepa.world.agent.offline import remember_episodes
from isojepa.world.agent.plan import (
    LearnPlan,
    build_agent,
    exploration_of,
    schedule_of,
    settle_learning,
    slack_of,
)
from isojepa.world.agent.replay import Replay
from isojepa.world.agent.reporting import learnt, of_life, of_test
from isojepa.world.environments.pixel_env import PixelEnv, make_pixel_env
from isojepa.world.episodes.trajectories import open_trajectories
from isojepa.world.model.world_model import export_world_model

log = logging.getLogger(__name__)
FILM, REPLAY = "agent.gif", "replay"


def train_agent(config: LearnConfig) -> Path:
    """Let an agent learn and write the run folder; returns its path.

    Raises:
        UserError: for anything the user can put right; what was saved stays.
        Interrupted: after Ctrl-C or SIGTERM, once the run is saved.
    """
    begun = open_learning(config)
    config, plan, agent = begun.config, begun.plan, begun.agent
    optimiser = adamw(
        agent, lr=config.lr, weight_decay=config.weight_decay, precision=config.precision
    )
    model, optimiser = begun.fabric.setup(agent, optimiser)
    recorder, start = record_learning(begun, optimiser)
    life = begun.experience
    updates = optimise(
        begun.fabric,
        model,
        agent_compute(begun, model),
        optimiser,
        act_and_recall(
            life,
            schedule_of(config),
            batch=config.batch_size,
            rows=config.rollout + 1,
            updates=range(start, plan.steps),
        ),
        schedule=plan.learning_rate,
        seed=config.seed,
        start=start,
    )
    found: Json = {}
    evaluations = life.env_steps // plan.evaluate_every
    with watched(updates, recorder, steps=plan.steps, title="learning") as each:
        for update in each:
            agent.follow(config.follow)
            step = update.step
            testing = life.env_steps // plan.evaluate_every > evaluations or step == plan.steps
            if step == 1 or testing or due(step, config.log_every, plan.steps):
                line = recorder.line(update, "windows", config.batch_size, plan.steps)
                line |= of_life(life)
                if testing:
                    evaluations = life.env_steps // plan.evaluate_every
                    found = evaluate_and_write(begun, step)
                    line |= found
                recorder.log(line, agent_progress(line | found, plan))
            if due(step, plan.save_every, plan.steps):
                recorder.save(step)
    export_agent(config.out / FOLDER, agent)
    export_world_model(config.out / "world_model", agent.world)
    log.info("agent in %s after %.0f s", config.out / FOLDER, recorder.seconds)
    recorder.finish()
    return config.out


def evaluate_and_write(begun: "OpenLearning", step: int) -> Json:
    """Evaluate and measure the agent, write what it has learnt and a film; returns the metrics."""
    config, agent, life = begun.config, begun.agent, begun.experience
    tested = evaluate_agent(
        agent, begun.tests, seed=config.seed, evaluation=step, horizon=config.plan
    )
    measured = measure_agent(agent, life.replay, seed=config.seed, step=step)
    imagined = imagined_frames(
        agent, life.replay, tested.z, tested.actions, seed=config.seed, step=step
    )
    write_film(config.out / FILM, tested.frames, imagined)
    write_result(config.out / LEARNT, learnt(tested, measured, life))
    return of_test(tested) | measured.as_metrics()


class OpenLearning(NamedTuple):
    """A run whose folder is made, whose environments are open and whose settings are settled."""

    config: LearnConfig
    stored: RunRecord | None
    """Of the run that is gone on with."""
    fabric: Fabric
    trackers: Trackers
    plan: LearnPlan
    agent: Agent
    experience: Experience
    tests: list[PixelEnv]
    """To evaluate in, side by side."""


def open_learning(config: LearnConfig) -> OpenLearning:
    """Make the folder, the environments, the agent and its memory."""
    config, stored = resumed(config)
    fabric = start_fabric(config.device, config.devices, config.precision)
    plan = settle_learning(config)
    options = parse_options(config.option)

    def make() -> PixelEnv:
        return make_pixel_env(config.env, frame_size=plan.frame_size, options=options)

    env = make()
    agent = build_agent(config, plan, env)
    trackers = open_run(fabric, config, stored)
    replay = Replay(
        config.out / REPLAY,
        frame_size=plan.frame_size,
        a=env.actions.a,
        capacity=config.capacity,
        slack=slack_of(config, plan),
    )
    exploration = exploration_of(config, plan)
    life = Experience(agent, env, replay, exploration, seed=config.seed, horizon=config.plan)
    announce_agent(config, plan, agent)
    tests = [make() for _ in range(config.test_episodes)]
    return OpenLearning(config, stored, fabric, trackers, plan, agent, life, tests)


def record_learning(begun: OpenLearning, optimiser: torch.optim.Optimizer) -> tuple[Recorder, int]:
    """The run's recorder, and the number of updates already made.

    A run that begins remembers the episodes of --data first.
    """
    config, plan, life = begun.config, begun.plan, begun.experience
    others: dict[str, Stateful | None] = {"optimiser": optimiser, "experience": life}
    trained = begun.trackers, plan.learning_rate
    recorder = Recorder(config, begun.agent, others, begun.fabric, *trained)
    data = {"env": config.env, "discrete": life.env.actions.discrete, "a": life.env.actions.a}
    start = recorder.begin(
        RunRecord(config=settled_learning(config, plan), data=data), begun.stored
    )
    if start == 0:
        life.replay.forget_after(0)
        if config.data is not None:
            frame_size = plan.frame_size
            remember_episodes(life, open_trajectories(config.data, frame_size=frame_size))
    return recorder, start


def agent_compute(begun: OpenLearning, model: nn.Module) -> Callable[[AgentBatch, int], AgentTerms]:
    """What an update computes: states of the windows, and the agent's loss of them."""
    config, device = begun.config, begun.fabric.device
    objective = AgentLoss(
        agent=begun.agent,
        sigreg=SIGReg(slices=config.slices, seed=config.seed),
        weights=config,
        detach=frozenset(config.detach),
        teacher=config.teacher,
        n=config.rollout,
    )

    def compute(batch: AgentBatch, step: int) -> AgentTerms:
        batch = AgentBatch(*(x.to(device, non_blocking=True) for x in batch))
        return objective(States(*model(batch.frames, batch.actions)), batch, step)

    return compute


def agent_progress(line: Json, plan: LearnPlan) -> str:
    """A metrics line for the progress bar."""
    words = "{env_steps:,} steps  loss {loss:.3f}  value {value:.2f}"
    if "train_return" in line:
        words += "  return {train_return:.1f}"
    if "test_return" in line:
        words += "  test {test_return:.1f}  rank {effective_rank:.1f}/{dim}"
    return words.format(**line, dim=plan.embedding_dim)


def settled_learning(config: LearnConfig, plan: LearnPlan) -> Json:
    """The settled configuration for config.json; paths are absolute, to be found from anywhere."""
    paths: Json = {
        name: None if getattr(config, name) is None else getattr(config, name).absolute()
        for name in ("data", "start_from")
    }
    return as_json(replace(config, **paths), plan._asdict())


def announce_agent(config: LearnConfig, plan: LearnPlan, agent: Agent) -> None:
    """Say what was found and what was decided."""
    spec = agent.spec
    actions = f"one of {spec.a} choices" if spec.discrete else f"{spec.a} numbers"
    log.info(
        "%s at %d px, %d frames stacked; an action is %s, held for %d steps",
        *(config.env, plan.frame_size, config.stack, actions, config.frame_skip),
    )
    log.info(
        "%.2f M parameters; %d updates of %d windows of %d decisions over %d environment steps; "
        "gradients to the encoder cut from %s",
        sum(p.numel() for p in agent.parameters() if p.requires_grad) / 1e6,
        *(plan.steps, config.batch_size, config.rollout, config.env_steps),
        ", ".join(config.detach) or "nothing",
    )
