"""How what was left open follows from the preset and the number of windows."""

from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from isojepa.boundaries import shown
from isojepa.errors import UserError
from isojepa.training.optimise import cosine_schedule
from isojepa.world.learning.config import WorldTrainConfig
from isojepa.world.model.presets import WorldModelSpec, preset
from isojepa.world.model.world_model import load_world_model

WEIGHTS: dict[str, float] = {
    "sigreg": 0.09, "exact": 0.09, "decoupled": 0.09, "visreg": 1.5, "vicreg": 1.0, "ksd": 0.01,
    "none": 0.0,
}  # fmt: skip
"""Of each regulariser beside the prediction error; LeWM's for SIGReg."""


def clip_frames(history: int, rollout_steps: int) -> int:
    """Frames of a training clip: the published four, or more if the predictions reach further."""
    return max(4, history + rollout_steps)


class WorldPlan(NamedTuple):
    """The settings that a configuration may leave open, settled; named as its fields."""

    preset: str
    encoder: str
    frame_size: int
    embedding_dim: int
    history: int
    lambd: float | Literal["auto"]
    slices: int
    rollout_steps: int
    steps: int
    batch_size: int
    lr: float
    weight_decay: float
    evaluate_every: int
    save_every: int

    def learning_rate(self, step: int) -> float:
        """Of update `step`, counted from 0: 1 % warm-up, then a cosine."""
        warmup = max(1, self.steps // 100)
        return cosine_schedule(step, peak=self.lr, warmup=warmup, steps=self.steps)

    @property
    def clip_frames(self) -> int:
        """Frames of a training clip."""
        return clip_frames(self.history, self.rollout_steps)


def model_spec(config: WorldTrainConfig, *, gpu: bool) -> tuple[str, WorldModelSpec]:
    """The preset's name and the model's sizes, before the data add theirs."""
    name = config.preset or ("lewm" if gpu else "lewm-micro")
    if config.start_from is not None:
        return name, spec_of_run(config, config.start_from)
    spec = replace(preset(name).spec, frame_skip=config.frame_skip, frozen=config.frozen)
    if config.encoder not in (None, spec.encoder):
        spec = replace(spec, encoder=config.encoder, encoder_options={})
    if config.frozen is not None:
        spec = replace(spec, projector_hidden=None)
    for field in ("frame_size", "embedding_dim", "history"):
        if getattr(config, field) is not None:
            spec = replace(spec, **{field: getattr(config, field)})
    return name, spec


def spec_of_run(config: WorldTrainConfig, run: Path) -> WorldModelSpec:
    """The sizes of a trained model, which settings may repeat but not change."""
    spec = load_world_model(run).spec
    for field in ("encoder", "frame_size", "embedding_dim", "history", "frame_skip"):
        asked, has = getattr(config, field), getattr(spec, field)
        usual = WorldTrainConfig.frame_skip if field == "frame_skip" else None
        if asked not in (usual, has):
            word = field.replace("_", "-")
            raise UserError(f"--{word} {asked}: {shown(run)} has {has}; leave it out")
    return spec


def settle_world(
    config: WorldTrainConfig, name: str, spec: WorldModelSpec, windows: int
) -> WorldPlan:
    """Settle what was left open, from the number of windows to train on."""
    usual = preset(name)
    batch_size = config.batch_size or min(usual.batch_size, max(2, windows // 4))
    epochs = config.epochs or usual.epochs
    steps = config.steps or max(1, epochs * (windows // batch_size))
    weight = WEIGHTS[config.regulariser]
    if config.frozen is not None:
        weight = 0.0  # nothing to regularise
    return WorldPlan(
        preset=name,
        encoder=spec.encoder,
        frame_size=spec.frame_size,
        embedding_dim=spec.embedding_dim,
        history=spec.history,
        lambd=weight if config.lambd is None else config.lambd,
        slices=config.slices or usual.slices,
        rollout_steps=config.rollout_steps or usual.rollout_steps,
        steps=steps,
        batch_size=batch_size,
        lr=config.lr or usual.lr,
        weight_decay=usual.weight_decay if config.weight_decay is None else config.weight_decay,
        evaluate_every=config.evaluate_every or max(1, steps // 10),
        save_every=config.save_every or min(1000, max(100, steps // 10)),
    )
