"""The world model: frames to embeddings, embeddings and actions to the next embeddings."""

import copy
import json
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from isojepa.boundaries import reading, writing
from isojepa.errors import UserError
from isojepa.files import write_atomically
from isojepa.runs.checkpoints import sealed, unsealed
from isojepa.runs.folder import write_json
from isojepa.world.model.encoders import FrameEncoder, FrozenFeatures, normalise_pixels
from isojepa.world.model.norms import renormed
from isojepa.world.model.predictor import ActionEncoder, Predictor
from isojepa.world.model.presets import WorldModelSpec
from isojepa.world.model.rollout import AT_ONCE, evaluating, folded, open_loop


class Predictions(NamedTuple):
    """What a training step needs of a batch of clips."""

    z: Float[Tensor, "b t d"]
    predicted: Float[Tensor, "b p d"]
    """Item i predicts z[:, i + 1] from real embeddings; p = t - 1."""
    rolled: Float[Tensor, "b k d"] | None
    """Open-loop predictions of the last k embeddings, two blocks ahead and more."""


class WorldModel(nn.Module):
    """LeWorldModel: an encoder of frames and a causal predictor conditioned on actions.

    A `LatentModel` in eval mode.

    Args:
        spec: what to build; see `presets.py` for named sizes.
        pretrained: start the encoder from timm's published weights.

    Shape:
        frames are uint8, or floats in [0, 1]; actions are blocks of `frame_skip` environment
        actions, flattened and normalised by `scale`. Axes: b episodes, t frames `frame_skip`
        environment steps apart, c y x of a frame, a of a block, d of the embedding.
    """

    _mean: Tensor
    _std: Tensor

    def __init__(self, spec: WorldModelSpec, *, pretrained: bool = False) -> None:
        super().__init__()
        self.spec = spec
        self.frame_size, self.frame_skip = spec.frame_size, spec.frame_skip
        self.history, self.embedding_dim = spec.history, spec.embedding_dim
        self.action_dim, self.scale = spec.action_dim, spec.scale
        d, hidden = spec.embedding_dim, spec.projector_hidden
        self.encoder: FrameEncoder | FrozenFeatures
        if spec.frozen is None:
            channels = {} if len(spec.pixel_mean) == 3 else {"in_chans": len(spec.pixel_mean)}
            options = {**spec.encoder_options, **channels}
            self.encoder = FrameEncoder(
                spec.encoder, options, spec.frame_size, pretrained=pretrained
            )
            self.projector = projection(self.encoder.features, hidden, d)
        else:
            self.encoder = FrozenFeatures(
                spec.encoder,
                spec.encoder_options,
                spec.frame_size,
                features=spec.frozen,
                d=d,
                pretrained=pretrained,
            )
            self.projector = nn.Identity()
        self.action_encoder = ActionEncoder(spec.action_dim, d) if spec.action_dim else None
        self.predictor = Predictor(
            d,
            width=spec.width,
            history=spec.history,
            depth=spec.depth,
            heads=spec.heads,
            head_width=spec.head_width,
            mlp=spec.mlp,
            dropout=spec.dropout,
        )
        self.predictor_projector = projection(d, hidden, d)
        if spec.norm != "batch":
            renormed(self, spec.norm)
        self.register_buffer("_mean", torch.tensor(spec.pixel_mean), persistent=False)
        self.register_buffer("_std", torch.tensor(spec.pixel_std), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self._mean.device

    def forward(
        self,
        frames: Shaped[Tensor, "b t c y x"],
        actions: Float[Tensor, "b t a"],
        rollout_steps: int = 1,
    ) -> Predictions:
        """Embed a batch of clips and predict each frame from those before it.

        Args:
            rollout_steps: 2 or more also predicts up to this many blocks beyond the first
                `history` frames, open loop; clips then hold history + rollout_steps frames.
        """
        z = self.encode(frames)
        predicted = self.predict(z[:, :-1], actions[:, :-1])
        rolled = None
        if rollout_steps > 1:
            h = z.shape[1] - rollout_steps
            future = actions[:, None, h - 1 : -1]
            rolled = self.rollout(z[:, :h], actions[:, : h - 1], future)[:, 0, 1:]
        return Predictions(z, predicted, rolled)

    def encode(self, frames: Shaped[Tensor, "b t c y x"]) -> Float[Tensor, "b t d"]:
        """Embed frames of `frame_size` pixels, uint8 or floats in [0, 1]."""
        b, t = frames.shape[:2]
        return self.projector(self.encoder(self.normalise(frames.flatten(0, 1)))).unflatten(
            0, (b, t)
        )

    def normalise(self, frames: Shaped[Tensor, "n c y x"]) -> Float[Tensor, "n c y x"]:
        """The encoder's input: standardised pixels, channels last in memory."""
        return normalise_pixels(frames, self._mean, self._std)

    def predict(
        self, z: Float[Tensor, "b t d"], actions: Float[Tensor, "b t a"]
    ) -> Float[Tensor, "b t d"]:
        """Output i predicts embedding i + 1 from embeddings and actions i - history + 1 to i."""
        b, h = len(z), self.history
        condition = self.condition(actions)
        if z.shape[1] <= h:
            out = self.predictor(z, condition)
        else:  # full windows start from position 0 each
            windows, conditions = (
                x.unfold(1, h, 1).flatten(0, 1).transpose(1, 2) for x in (z, condition)
            )
            out, _ = self.predictor.advance(windows, self.predictor.modulations(conditions))
            out = out.unflatten(0, (b, -1))
            if h > 1:
                out = torch.cat([self.predictor(z[:, : h - 1], condition[:, : h - 1]), out], 1)
        return self.predictor_projector(out.flatten(0, 1)).unflatten(0, (b, -1))

    def rollout(
        self,
        z: Float[Tensor, "b t d"],
        past_actions: Float[Tensor, "b p a"],
        candidates: Float[Tensor, "b s h a"],
    ) -> Float[Tensor, "b s h d"]:
        """See `LatentModel.rollout`."""
        b, s = candidates.shape[:2]
        kept = min(z.shape[1], self.history) - 1
        z, past_actions = z[:, -kept - 1 :], past_actions[:, past_actions.shape[1] - kept :]
        share = max(1, AT_ONCE // s)
        if b > share:  # whole episodes at a time
            parts = (x.split(share) for x in (z, past_actions, candidates))
            return torch.cat([self.rollout(*part) for part in zip(*parts)])
        dtype, predictor = z.dtype, self.predictor
        to = predictor.positions.dtype
        past = predictor.modulations(self.condition(past_actions.to(to)))
        futures = predictor.modulations(self.condition(candidates.to(to)))
        out = open_loop(predictor, self.predictor_projector, z.to(to), past, futures)
        return out.to(dtype)

    def for_planning(self, dtype: torch.dtype = torch.float32) -> "WorldModel":
        """A copy for inference with the norms of its predictor folded away.

        It is in eval mode and stays so, whether or not this model trains.

        Args:
            dtype: in which `rollout` computes; the encoder stays in float32 and shares its weights.
        """
        model = copy.copy(self)
        model._modules = {
            name: None if part is None else evaluating(part) for name, part in self._modules.items()
        }
        for name in ("action_encoder", "predictor", "predictor_projector"):
            part = self._modules[name]
            model._modules[name] = None if part is None else folded(part, dtype)
        model.training = False
        return model

    def condition(self, actions: Float[Tensor, "... a"]) -> Float[Tensor, "... d"]:
        """What the predictor is told of normalised blocks of actions."""
        if actions.shape[-1] != self.action_dim:
            raise ValueError(
                f"blocks of {actions.shape[-1]} numbers given, but the model's actions have "
                f"{self.action_dim}"
            )
        if self.action_encoder is None:
            return actions.new_zeros(*actions.shape[:-1], self.embedding_dim)
        return self.action_encoder(actions)


def projection(d: int, hidden: int | None, out: int) -> nn.Module:
    """Linear, BatchNorm, GELU, Linear, as published; without a hidden width, Linear or nothing."""
    if hidden is None:
        return nn.Identity() if d == out else nn.Linear(d, out)
    return nn.Sequential(
        nn.Linear(d, hidden), nn.BatchNorm1d(hidden), nn.GELU(), nn.Linear(hidden, out)
    )


def export_world_model(folder: Path, model: WorldModel) -> None:
    """Write the model so that `load_world_model(folder)` rebuilds it."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "model.safetensors", sealed(model.state_dict()))
    write_json(folder / "config.json", model.spec.as_json())


def load_world_model(path: str | Path) -> WorldModel:
    """Load a trained world model, in eval mode, on the CPU.

    Args:
        path: a run folder, its `world_model` folder, or a copy of the latter.

    Raises:
        UserError: if there is none, or its files are damaged.
    """
    folder = Path(path)
    if (folder / "world_model" / "config.json").is_file():
        folder = folder / "world_model"
    if not all((folder / name).is_file() for name in ("config.json", "model.safetensors")):
        raise UserError(f"{path}: no trained world model here (world_model/config.json is missing)")
    try:
        spec = WorldModelSpec.from_json(json.loads((folder / "config.json").read_text()))
    except (ValueError, TypeError) as error:
        raise UserError(f"{folder / 'config.json'}: not a world model's ({error})") from error
    weights = unsealed(folder / "model.safetensors")
    model = WorldModel(spec)
    with reading(folder / "model.safetensors", "the weights of what config.json describes"):
        model.load_state_dict(weights)
    return model.eval()
