"""An update of a world model's training made again: `isojepa world replay`."""

from dataclasses import dataclass

from isojepa.training.batches import batch_places
from isojepa.training.optimise import adamw
from isojepa.training.replay import ReplayConfig, ReplayResult, asked_step, opened, replayed
from isojepa.training.trackers import Trackers
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.learning.train import (
    OpenTraining,
    automatic_weight,
    build_world,
    world_compute,
    world_updates,
)
from isojepa.world.learning.windows import prepare_training


@dataclass(frozen=True, kw_only=True)
class WorldReplayConfig(ReplayConfig):
    """Make one update of a world model's training again; writes RUN/replay.json."""


def replay_world_update(config: WorldReplayConfig) -> ReplayResult:
    """Make the update again, print what was found, and write RUN/replay.json.

    Raises:
        UserError: if the run, its episodes or its checkpoints cannot be read.
    """
    settings, stored, fabric = opened(config, WorldTrainConfig)
    spec, plan, windows = prepare_training(
        settings, gpu=fabric.device.type == "cuda", stored=stored
    )
    step = asked_step(config, plan.steps)
    begun = OpenTraining(settings, stored, fabric, Trackers([]), spec, plan, windows)
    world = build_world(begun)
    optimiser = adamw(
        world, lr=plan.lr, weight_decay=plan.weight_decay, precision=settings.precision
    )
    model, optimiser = fabric.setup(world, optimiser)
    weight = automatic_weight(begun)
    places = batch_places(len(windows.positions), batch_size=plan.batch_size, seed=settings.seed)(
        step - 1
    )
    chosen = windows.positions[places.numpy()].tolist()
    return replayed(
        config.run,
        step,
        world,
        {"optimiser": optimiser, "lambda": weight},
        lambda start: world_updates(
            begun, model, optimiser, world_compute(begun, model, weight), start
        ),
        tuple(f"episode {episode} from step {first}" for episode, first in chosen),
    )
