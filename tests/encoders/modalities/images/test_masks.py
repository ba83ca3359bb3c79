"""Masked views: how much is missing, that ranks share a batch, and that it trains."""

from dataclasses import replace

import pytest
import torch

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.encoder import EncoderSpec
from isojepa.encoders.modalities.images.images import Squares
from isojepa.encoders.modalities.images.masks import PATCHES, draw_masks, with_holes
from isojepa.encoders.modalities.images.recipes import masked
from isojepa.encoders.modalities.images.views import VIEWING
from isojepa.encoders.modalities.modality import Batch
from isojepa.encoders.pretrain import train_encoder
from isojepa.runs.record import read_run


@pytest.mark.parametrize("size", [8, 14, 16, 20, 96])
def test_holes_are_patches_of_the_grid(size: int) -> None:
    """Against a loop over pixels."""
    x = torch.rand(2, 3, 1, size, size) + 1
    missing = draw_masks(0.5, 2, seed=0, step=3, first=0, n=3, total=3)
    made, side = with_holes(x, missing), -(-size // PATCHES)
    for v in range(2):
        for i in range(3):
            for row in range(size):
                for column in range(size):
                    gone = missing[v, i, row // side * PATCHES + column // side]
                    expected = 0.0 if gone else x[v, i, 0, row, column]
                    assert made[v, i, 0, row, column] == expected


def test_as_many_are_missing_in_each_view_and_others() -> None:
    missing = draw_masks(0.5, 4, seed=1, step=0, first=0, n=50, total=50)
    assert (missing.sum(-1) == PATCHES**2 // 2).all()
    assert len(missing.flatten(0, 1).unique(dim=0)) == 200
    assert missing.float().mean((0, 1)).sub(0.5).abs().max() < 0.15


def batch(first: int, n: int) -> Batch[Squares]:
    squares = torch.randint(0, 256, (8, 1, 16, 16), dtype=torch.uint8,
                            generator=torch.Generator().manual_seed(0))  # fmt: skip
    return Batch(Squares(squares[first : first + n], torch.ones(n)), None, first, 8)


def test_ranks_share_a_batch() -> None:
    spec = EncoderSpec(
        model="resnet_nano", image_size=16, channels=1, mean=[0.5], std=[0.2], side=16
    )
    settings = {"recipe": masked(16), "spec": spec, "seed": 0, "device": torch.device("cpu")}
    whole = VIEWING.views(batch(0, 8), 2, **settings).large
    parts = [
        VIEWING.views(batch(0, 3), 2, **settings).large,
        VIEWING.views(batch(3, 5), 2, **settings).large,
    ]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert not torch.equal(VIEWING.views(batch(0, 8), 3, **settings).large, whole)
    seen = whole != 0
    agree = (whole[0] == whole[1]) | ~(seen[0] & seen[1])
    assert agree.all()  # what both see is the same: nothing but holes differs


def test_it_trains_and_is_pictured(quick: PretrainConfig) -> None:
    config = replace(quick, recipe="masked")
    made = read_run(train_encoder(config)).config
    assert (made["recipe"], made["mirror"]) == ("masked", None)
    assert (config.out / "views.png").is_file()
