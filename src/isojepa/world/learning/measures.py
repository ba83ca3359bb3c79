"""What held-out clips say about a world model: prediction errors, rank, straightness."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from isojepa.embeddings.label_free import effective_rank
from isojepa.randomness import Stream, seed_from
from isojepa.world.episodes.trajectories import Clips, Trajectories, episode_rows
from isojepa.world.model.latent import LatentModel
from isojepa.world.model.world_model import WorldModel

ENCODED_AT_ONCE, SAMPLED_AT_ONCE = 256, 128  # frames


class HeldOutMeasures(NamedTuple):
    """Measured on clips of held-out episodes."""

    prediction: float
    """Mean squared error per coordinate one block ahead, teacher forced."""
    rollout: list[float]
    """Errors 1, 2, ... blocks ahead, open loop, over the embeddings' variance: 1 is the mean's."""
    persistence: list[float]
    """The same if nothing ever moved."""
    effective_rank: float
    """Of the embeddings, around 0: from 1 (collapsed) to the embedding dimension."""
    straightness: float
    """Mean cosine of consecutive latent velocities, from -1 to 1."""
    deviation: float
    """Of an embedding's coordinates, root mean square: 1 is SIGReg's aim, 0 a collapse."""

    def as_metrics(self) -> dict[str, float]:
        """One number per name, for metrics.jsonl."""
        flat = {
            "held_out_prediction": self.prediction,
            "effective_rank": self.effective_rank,
            "straightness": self.straightness,
            "deviation": self.deviation,
        }
        for name in ("rollout", "persistence"):
            values = getattr(self, name)
            flat |= {f"held_out_{name}_{k}": v for k, v in enumerate(values, 1)}
        return flat


@torch.no_grad()
def measure_held_out(model: WorldModel, clips: Clips) -> HeldOutMeasures:
    """Measure on clips of more than `history` frames; the model is left in its mode."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    z = encode(model, clips.frames)
    actions = clips.actions.to(device)
    predicted = model.predict(z[:, :-1], actions[:, :-1])
    prediction = F.mse_loss(predicted, z[:, 1:]).item()
    h = min(model.history, z.shape[1] - 1)
    future = actions[:, None, h - 1 : -1]
    rolled = model.rollout(z[:, :h], actions[:, : h - 1], future)[:, 0]
    model.train(training)
    variance = z.flatten(0, 1).var(0, correction=0).mean()
    still = z[:, h - 1 : h].expand_as(rolled)
    ahead, persistence = (
        ((guess - z[:, h:]).square().mean((0, 2)) / variance.clamp(min=1e-12)).tolist()
        for guess in (rolled, still)
    )
    flat: np.ndarray = z.flatten(0, 1).cpu().numpy()
    rank = effective_rank(flat, centred=False)
    deviation = variance.sqrt().item()
    return HeldOutMeasures(prediction, ahead, persistence, rank, straightness(z), deviation)


def straightness(z: Float[Tensor, "b t d"]) -> float:
    """Mean cosine between z[i + 1] - z[i] and z[i + 2] - z[i + 1]; nan for fewer than 3 frames."""
    velocity = z.diff(dim=1)
    return F.cosine_similarity(velocity[:, 1:], velocity[:, :-1], dim=-1).mean().item()


@torch.no_grad()
def encode(model: WorldModel, frames: Tensor) -> Float[Tensor, "b t d"]:
    """Embed any number of clips, a few at a time, on the model's device."""
    device = next(model.parameters()).device
    parts = frames.split(max(1, ENCODED_AT_ONCE // frames.shape[1]))
    return torch.cat([model.encode(part.to(device)).float() for part in parts])


@torch.no_grad()
def sample_embeddings(
    model: LatentModel,
    trajectories: Trajectories,
    episodes: Int64[np.ndarray, " e"],
    n: int,
    *,
    seed: int,
    stream: Stream,
) -> Float[Tensor, "n d"]:
    """Embeddings of at most n frames drawn from some episodes, in their order."""
    random = np.random.default_rng(seed_from(seed, stream))
    rows = np.sort(random.permutation(episode_rows(trajectories, episodes))[:n]).astype(np.int64)
    z = []
    for part in np.array_split(rows, -(-len(rows) // SAMPLED_AT_ONCE)):
        frames = torch.from_numpy(trajectories.rows(part).copy()).permute(0, 3, 1, 2)
        z.append(model.encode(frames[:, None].to(model.device))[:, 0].float())
    return torch.cat(z)
