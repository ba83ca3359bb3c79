"""Probes that watch a run with labels; no gradient reaches the encoder."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from isojepa.encoders.evaluation.features import embed_samples
from isojepa.encoders.modalities.modality import Dataset, Network
from isojepa.encoders.sources.folder import UNLABELLED
from isojepa.files import Json
from isojepa.randomness import epoch_order

PROBED = 4000  # images of either kind in an online probe


class OnlineProbe:
    """A linear classifier trained beside the encoder on its detached embeddings."""

    def __init__(self, d: int, classes: int, device: torch.device) -> None:
        self.head = nn.Sequential(nn.BatchNorm1d(d, affine=False), nn.Linear(d, classes)).to(device)
        self._optimiser = torch.optim.AdamW(self.head.parameters(), lr=3e-3, weight_decay=1e-4)

    def update(self, embeddings: Float[Tensor, "v n d"], labels: Int64[Tensor, " n"]) -> None:
        """One step on the embeddings of the views, which must be detached."""
        labels = labels.to(embeddings.device, non_blocking=True)
        if not (labels != UNLABELLED).any():
            return
        logits = self.head(embeddings.flatten(0, 1).float())
        loss = nn.functional.cross_entropy(
            logits, labels.repeat(embeddings.shape[0]), ignore_index=UNLABELLED
        )
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()

    @torch.no_grad()
    def accuracy(self, x: Float[Tensor, "n d"], labels: Int64[Tensor, " n"]) -> float:
        """Share of the samples, in [0, 1], that the classifier gets right."""
        self.head.eval()
        right = self.head(x).argmax(-1).cpu() == labels
        self.head.train()
        return right.float().mean().item()

    def state_dict(self) -> Json:
        return {"head": self.head.state_dict(), "optimiser": self._optimiser.state_dict()}

    def load_state_dict(self, state: Json) -> None:
        self.head.load_state_dict(state["head"])
        self._optimiser.load_state_dict(state["optimiser"])


@torch.no_grad()
def nearest_neighbours_accuracy(
    train: Float[Tensor, "n d"],
    train_labels: Int64[Tensor, " n"],
    test: Float[Tensor, "q d"],
    test_labels: Int64[Tensor, " q"],
    k: int = 20,
) -> float:
    """Accuracy of a vote of the k nearest by cosine: quick, for watching; scores use `knn.py`."""
    unit = [nn.functional.normalize(x, dim=-1) for x in (test, train)]
    similarity, index = (unit[0] @ unit[1].T).topk(min(k, len(train)), -1)
    classes = int(train_labels.max()) + 1
    votes = torch.zeros(len(test), classes, device=train.device)
    neighbours = train_labels.to(train.device)[index]
    votes.scatter_add_(1, neighbours, (similarity / 0.07).softmax(-1))
    return (votes.argmax(-1).cpu() == test_labels).float().mean().item()


def online_probe(data: Dataset, d: int, device: torch.device) -> OnlineProbe | None:
    """A probe when there are labels to learn from and held-out images to test on."""
    if data.labels is None:
        return None
    known = data.labels != UNLABELLED
    if not (known & data.held_out).any() or not (known & ~data.held_out).any():
        return None
    assert data.listing.class_names is not None
    return OnlineProbe(d, len(data.listing.class_names), device)


def probe_accuracies(
    probe: OnlineProbe, encoder: Network, data: Dataset, *, seed: int
) -> dict[str, float]:
    """Of the online linear probe and of k-NN on held-out images, at most a few thousand of them."""
    assert data.labels is not None
    labels, known = torch.from_numpy(data.labels), data.labels != UNLABELLED

    def few(which: np.ndarray) -> Int64[Tensor, " n"]:
        indices = np.flatnonzero(known & which)
        return torch.from_numpy(indices)[epoch_order(len(indices), seed=seed, epoch=0)[:PROBED]]

    train, test = few(~data.held_out), few(data.held_out)
    x = embed_samples(encoder, data, torch.cat([train, test]))
    return {
        "probe_accuracy": probe.accuracy(x[len(train) :], labels[test]),
        "knn_accuracy": nearest_neighbours_accuracy(
            x[: len(train)], labels[train], x[len(train) :], labels[test]
        ),
    }
