"""How what was left open of a run follows from the number of samples, whatever they are."""

from dataclasses import asdict
from typing import Any, Literal, NamedTuple

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.modality import Choices
from isojepa.errors import UserError
from isojepa.objective.automatic import LEAST_BATCH
from isojepa.objective.regularisers import WEIGHTS
from isojepa.training.optimise import cosine_schedule

MOST_STEPS = 10**9


class PretrainPlan(NamedTuple):
    """The settings that a configuration may leave open, settled; named as its fields."""

    modality: str
    choices: Choices
    """Those that depend on the kind of data."""
    holdout: float
    lambd: float | Literal["auto"]
    steps: int
    batch_size: int
    warmup: int
    probe_every: int
    save_every: int

    def learning_rate(self, step: int) -> float:
        """Of update `step`, counted from 0."""
        peak = self.choices.lr
        return cosine_schedule(step, peak=peak, warmup=self.warmup, steps=self.steps)

    def settled(self) -> dict[str, Any]:
        """All of them, by the names of the configuration's fields."""
        own = self._asdict()
        del own["choices"]
        return own | asdict(self.choices)


def settle(
    config: PretrainConfig, choices: Choices, *, modality: str, n_train: int, holdout: float
) -> PretrainPlan:
    """Settle what was left open, from the number of samples to train on.

    Where updates are not asked for there are as many as can be, until `budget` has measured them.

    Args:
        choices: what the modality settled.
        holdout: share that is held out.

    Raises:
        UserError: if a batch is asked for that the training samples cannot fill.
    """
    batch = _batch_size(config.batch_size, n_train)
    if config.lambd == "auto" and batch < LEAST_BATCH:
        raise UserError(
            f"--lambd auto: batches of {batch} are too small to tell a departure from noise; give "
            f"a --batch-size of at least {LEAST_BATCH}, or a number"
        )
    open_plan = PretrainPlan(
        modality=modality,
        choices=choices,
        holdout=holdout,
        lambd=WEIGHTS[config.regulariser] if config.lambd is None else config.lambd,
        steps=0,
        batch_size=batch,
        warmup=0,
        probe_every=0,
        save_every=0,
    )
    return with_steps(open_plan, config, config.steps or MOST_STEPS)


def with_steps(plan: PretrainPlan, config: PretrainConfig, steps: int) -> PretrainPlan:
    """The plan of as many updates, with the warm-up and the intervals that follow from them."""
    return plan._replace(
        steps=steps,
        warmup=min(1000, max(1, steps // 10)) if config.warmup is None else config.warmup,
        probe_every=config.probe_every or max(1, steps // 10),
        save_every=config.save_every or min(1000, max(100, steps // 10)),
    )


def share_held_out(config: PretrainConfig, *, labelled: bool) -> float:
    """The share to hold out, where the source makes no split of its own."""
    return (0.2 if labelled else 0.0) if config.holdout is None else config.holdout


def _batch_size(asked: int | None, n_train: int) -> int:
    batch = asked or min(256, max(2, 2 ** ((n_train // 4).bit_length() - 1)))
    if n_train < 2:
        raise UserError("at least 2 training samples are needed: SIGReg compares a distribution")
    if batch > n_train:
        raise UserError(
            f"--batch-size {batch}: there are only {n_train} training samples; "
            f"choose at most {n_train}, or add samples"
        )
    return batch
