"""Projector: embeddings in, the lower-dimensional vectors on which the loss acts out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from isojepa.encoders.modalities.modality import Network, Views


def projector(d: int, hidden: int, out: int) -> nn.Sequential:
    """MLP d-hidden-hidden-out with BatchNorm after the hidden layers, as in LeJEPA.

    The last layer is linear with no normalisation, which would keep SIGReg from setting the scale.
    """
    return nn.Sequential(
        nn.Linear(d, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out),
    )


class JEPA(nn.Module):
    """Encoder and projector: all views of a batch in, their embeddings and projections out."""

    def __init__(self, encoder: Network, hidden: int, out: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector(encoder.embedding_dim, hidden, out)

    def forward(self, views: Views) -> tuple[Float[Tensor, "v n d"], Float[Tensor, "v n k"]]:
        """Embed each view size in one pass and project them all together."""
        v, n = views.large.shape[:2]
        embeddings = self.encoder(views.large.flatten(0, 1))
        if views.small is not None:
            v += views.small.shape[0]
            embeddings = torch.cat([embeddings, self.encoder(views.small.flatten(0, 1))])
        projections = self.projector(embeddings)
        return embeddings.unflatten(0, (v, n)), projections.unflatten(0, (v, n))
