"""An update made in parts equals the one made at once, but for what BatchNorm sees."""

import torch
from lightning_fabric import Fabric
from torch import nn

from isojepa import LeJEPALoss
from isojepa.encoders.compute import lejepa
from isojepa.encoders.modalities.images.images import Squares
from isojepa.encoders.modalities.modality import Batch, Views
from isojepa.training.optimise import Update, optimise


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.projector = nn.Linear(12, 8), nn.Linear(8, 4)
        self.dropout = nn.Dropout(0.0)

    def forward(self, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
        embeddings = self.encoder(views.large.flatten(2))
        if views.small is not None:
            small = nn.functional.pad(views.small.flatten(2), (0, 9))
            embeddings = torch.cat([embeddings, self.encoder(small)])
        return embeddings, self.projector(self.dropout(embeddings))


def updates(parts: int, local: bool, dropout: float = 0.0) -> tuple[list[Update], torch.Tensor]:
    fabric, model = Fabric(accelerator="cpu", devices=1), Model()
    model.dropout.p = dropout
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (3, 10, 3, 2, 2), generator=generator, dtype=torch.uint8)
    model, optimiser = fabric.setup(model, optimiser)
    batches = (Batch(Squares(x, torch.ones(10)), None, 0, 10) for x in images)

    def views(batch: Batch, step: int) -> Views:
        large = batch.samples.pixels.float().div(255).expand(2, -1, -1, -1, -1) + step
        return Views(large, large[:1, ..., :1, :1] if local else None)

    compute = lejepa(fabric, model, LeJEPALoss(2, 0.2, slices=16), views, parts=parts)
    made = optimise(fabric, model, compute, optimiser, batches, schedule=lambda _: 0.1, seed=3)
    return list(made), torch.cat([p.detach().flatten() for p in model.parameters()])


def test_parts_equal_the_whole() -> None:
    for local in (False, True):
        whole, weights = updates(1, local)
        for parts in (2, 3, 10):
            pieces, same = updates(parts, local)
            torch.testing.assert_close(same, weights)
            for a, b in zip(pieces, whole):
                torch.testing.assert_close(a.terms, b.terms)
                torch.testing.assert_close(a.grad_norm, b.grad_norm)


def test_parts_are_reproducible_with_dropout() -> None:
    assert torch.equal(updates(3, True, 0.5)[1], updates(3, True, 0.5)[1])
