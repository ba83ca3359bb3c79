"""Arrays -> a trained encoder, with no run folder: what the scikit-learn estimator does."""

import json
import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load, save
from torch import Tensor

from isojepa.devices import choose_device
from isojepa.encoders.compute import lejepa
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation.features import embed_samples as embed_on
from isojepa.encoders.jepa import JEPA
from isojepa.encoders.modalities.batches import training_batches
from isojepa.encoders.modalities.modality import Batch, Choices, Dataset, Given, Modality, Source
from isojepa.encoders.modalities.registry import modality
from isojepa.errors import UserError
from isojepa.objective.automatic import LEAST_BATCH, AutomaticWeight
from isojepa.objective.lejepa import LeJEPALoss
from isojepa.progress import bar, untracked
from isojepa.randomness import Stream, seed_from
from isojepa.runs.checkpoints import contiguous
from isojepa.runs.typed import from_json
from isojepa.training.launch import start_fabric
from isojepa.training.optimise import cosine_schedule, optimise, parameter_groups

LAMBDA = 0.05
AFTER = 2**40  # no update of a training has this number


@dataclass(frozen=True)
class Fitted:
    """An encoder with its projector, on the CPU, in eval mode, and how it was trained."""

    jepa: JEPA
    kind: Modality
    choices: Choices
    config: PretrainConfig
    lambd: float
    """Weight of SIGReg at the end of training."""

    @property
    def dimensions(self) -> int:
        """Of the embeddings."""
        return self.jepa.encoder.embedding_dim

    def read(self, source: Source) -> Dataset:
        """More samples, as the encoder reads them."""
        form = self.kind.read.form_of(self.jepa.encoder.spec)
        return self.kind.read.read(source, form, untracked)


def memory_config(**said: Any) -> PretrainConfig:
    """A configuration for samples in memory; None leaves a field open."""
    given = {name: value for name, value in said.items() if value is not None}
    return PretrainConfig(data=Path("memory"), out=Path("memory"), **given)


def fit(
    source: Source, kind: Modality, config: PretrainConfig, *, steps: int, progress: bool = False
) -> Fitted:
    """Train on all samples; the caller's random numbers are left as they were.

    Args:
        config: its `batch_size` may be larger than the number of samples.
        steps: updates.
        progress: show a bar.
    """
    fabric = start_fabric(config.device, 1, config.precision)
    gpu = fabric.device.type == "cuda"
    choices, form = kind.read.choose(Given(config, source, None, gpu, None, lambda _: None))
    data = kind.read.read(source, form, untracked)
    with torch.random.fork_rng():
        torch.manual_seed(seed_from(config.seed, Stream.WEIGHTS))
        spec = kind.network.spec(config, choices, data, data.statistics(range(len(data))))
        encoder = kind.network.network(spec, None, pretrained=False)
        jepa = JEPA(encoder, choices.projector_hidden, config.projection_dim)
        optimiser = torch.optim.AdamW(parameter_groups(jepa, config.weight_decay), lr=choices.lr)
        model, optimiser = fabric.setup(jepa, optimiser)
        fitted = Fitted(jepa, kind, choices, config, LAMBDA)
        batch, warmup = min(config.batch_size or 256, len(data)), max(1, steps // 10)
        weight = _weight(config, batch, steps, warmup)
        batches = training_batches(
            data, torch.arange(len(data)), batch_size=batch, seed=config.seed, start=0, stop=steps
        )
        schedule = partial(cosine_schedule, peak=choices.lr, warmup=warmup, steps=steps)
        objective = _objective(fitted, weight)
        compute = lejepa(fabric, model, objective, _views(fitted, fabric.device))
        updates = optimise(
            fabric, model, compute, optimiser, batches,
            schedule=schedule, seed=config.seed, clip=config.clip,
        )  # fmt: skip
        with bar(steps, "LeJEPA") if progress else nullcontext(lambda _: None) as advance:
            for _ in updates:
                advance(1)
    jepa.cpu().eval()
    return replace(fitted, lambd=float(objective.weight()))


def _weight(config: PretrainConfig, n: int, steps: int, warmup: int) -> float | AutomaticWeight:
    if config.lambd != "auto":
        return LAMBDA if config.lambd is None else config.lambd
    if n < LEAST_BATCH:
        raise UserError(f"lambd='auto' needs batches of at least {LEAST_BATCH}, not of {n}")
    return AutomaticWeight(n, steps, hold=warmup, knots=config.knots, t_max=config.t_max)


def embed_source(fitted: Fitted, source: Source) -> Float[Tensor, "n d"]:
    """One embedding per sample, on the device that training was asked for; float32 on the CPU."""
    data = fitted.read(source)
    encoder = fitted.jepa.encoder.to(choose_device(fitted.config.device))
    made = embed_on(encoder, data, range(len(data))).cpu()
    encoder.cpu()
    return made


@torch.no_grad()
def loss_on(fitted: Fitted, source: Source, *, repeats: int) -> float:
    """LeJEPA's loss on samples of which training need not have seen any: a mean over views drawn
    as many times.

    SIGReg's value of n samples depends on n little, and not at all where they are Gaussian.
    """
    data = fitted.read(source)
    batch = Batch(data.read(range(len(data))), None, 0, len(data))
    views, objective = _views(fitted, torch.device("cpu")), _objective(fitted, fitted.lambd)
    steps = range(AFTER, AFTER + repeats)
    losses = [objective(fitted.jepa(views(batch, i))[1], step=i).loss.item() for i in steps]
    return math.fsum(losses) / repeats


def _objective(fitted: Fitted, lambd: float | AutomaticWeight) -> LeJEPALoss:
    config = fitted.config
    return LeJEPALoss(
        fitted.choices.global_views,
        lambd,
        slices=config.slices,
        knots=config.knots,
        t_max=config.t_max,
        seed=config.seed,
        directions=config.directions,
    )


def _views(fitted: Fitted, device: torch.device) -> Any:
    views, config = fitted.kind.views, fitted.config
    recipe, spec = views.recipe(config, fitted.choices), fitted.jepa.encoder.spec
    return partial(views.views, recipe=recipe, spec=spec, seed=config.seed, device=device)


class FittedState(NamedTuple):
    """What `from_state` rebuilds it from: settings, and weights as bytes of safetensors."""

    modality: str
    spec: str
    """As JSON."""
    weights: bytes
    choices: Choices
    config: PretrainConfig
    lambd: float = LAMBDA


def as_state(fitted: Fitted) -> dict[str, Any]:
    """A `FittedState` by its names, which pickle takes."""
    return FittedState(
        modality=fitted.kind.name,
        spec=json.dumps(asdict(fitted.jepa.encoder.spec)),
        weights=save(contiguous(fitted.jepa.state_dict())),
        choices=fitted.choices,
        config=fitted.config,
        lambd=fitted.lambd,
    )._asdict()


def from_state(state: dict[str, Any]) -> Fitted:
    """The same encoder and projector again."""
    name, written, weights, choices, config, lambd = FittedState(**state)
    kind = modality(name)
    spec: Any = from_json(kind.network.Spec, json.loads(written), Path("spec"))
    encoder = kind.network.network(spec, None, pretrained=False)
    jepa = JEPA(encoder, choices.projector_hidden, config.projection_dim)
    jepa.load_state_dict(load(weights))
    return Fitted(jepa.eval(), kind, choices, config, lambd)
