"""View sizes that networks read: chosen where they follow from the data, refused where asked for.

A vision transformer reads multiples of its patches and nothing else; a convolution anything.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.modalities.images.choices import ImageChoices, choose_sizes, local_size_before
from isojepa.encoders.modalities.images.encoder import Encoder
from isojepa.encoders.modalities.images.images import Headers
from isojepa.encoders.modalities.images.recipes import photo
from isojepa.encoders.modalities.images.sizes import Reader, reader
from isojepa.encoders.modalities.images.views import VIEWING
from isojepa.errors import UserError

CONFIG = PretrainConfig(data=Path("photos"), out=Path("run"))


def plan(side: int, gpu: bool = True, backbone: nn.Module | None = None, **said) -> ImageChoices:
    return choose_sizes(replace(CONFIG, **said), Headers(side, 3), gpu=gpu, backbone=backbone)


@pytest.mark.parametrize(
    ("model", "side", "sizes"),
    [
        ("test_vit", 224, (224, 96)),
        ("test_vit", 96, (96, 48)),
        ("test_vit", 120, (112, 48)),
        ("vit_small_patch14_dinov2", 224, (224, 98)),
        ("vit_small_patch14_dinov2", 96, (98, 42)),
        ("resnet18", 224, (224, 96)),
    ],
)
def test_derived_sizes_are_what_the_network_reads(model: str, side: int, sizes: tuple) -> None:
    settled = plan(side, model=model, local_views=6)
    assert (settled.image_size, settled.local_size) == sizes
    recipe = VIEWING.recipe(CONFIG, settled)
    assert (recipe.global_size, recipe.local_size) == sizes


def test_rounded_sizes_cost_what_was_meant() -> None:
    """Local views are a quarter of the area of global ones or less, never as many tokens."""
    for size in range(32, 257, 16):
        assert photo(size).local_size ** 2 <= size**2 / 4


@pytest.mark.parametrize("model", ["test_vit_relpos", "pit_ti_224"])
def test_one_size_only_has_no_local_views_unless_asked(model: str) -> None:
    told: list[str] = []
    config = replace(CONFIG, model=model)
    settled = choose_sizes(config, Headers(96, 3), gpu=True, tell=told.append)
    assert (settled.global_views, settled.local_views) == (2, 0)
    if "vit" in model:  # of other networks local views are not the default
        assert "no local views" in told[0]
    with pytest.raises(UserError, match=r"--local-views 2: .* --local-size 96"):
        plan(96, model=model, local_views=2)
    asked = plan(96, model=model, local_views=2, local_size=96)
    assert (asked.local_views, asked.local_size) == (2, 96)


@pytest.mark.parametrize(
    ("model", "size", "words"),
    [
        ("test_vit", 100, "96 and 112$"),
        ("vit_small_patch14_dinov2", 225, "224 and 238$"),
        ("twins_svt_small", 30, "32$"),
        ("convit_tiny", 100, "96 and 112$"),  # would leave out four pixels in silence
    ],
)
def test_a_size_asked_for_is_never_changed(model: str, size: int, words: str) -> None:
    with pytest.raises(UserError, match=f"--image-size {size}: {model} .*{words}") as refused:
        plan(500, model=model, image_size=size)
    assert "\n" not in str(refused.value)


def test_a_local_size_asked_for_is_never_changed() -> None:
    said = {"model": "test_vit", "image_size": 96, "local_views": 2}
    assert plan(96, **said, local_size=32).local_size == 32
    with pytest.raises(UserError, match=r"--local-size 42: .*32 and 48"):
        plan(96, **said, local_size=42)


def test_networks_of_one_size_get_it() -> None:
    told: list[str] = []
    config = replace(CONFIG, model="levit_128s")
    settled = choose_sizes(config, Headers(60, 3), gpu=False, tell=told.append)
    assert settled.image_size % 16 == 0
    assert told == [] or str(settled.image_size) in told[0]


@pytest.mark.parametrize("model", ["test_vit", "levit_128s", "pit_ti_224"])
def test_what_is_foretold_is_what_the_network_does(model: str) -> None:
    """Shapes on the meta device against numbers on the CPU."""
    foretold = reader(model, 3)
    built = foretold.image_size(64, asked=False)
    encoder = Encoder(foretold._built(built).spec).eval()
    for size in (16, 32, 48, built):
        try:
            out = encoder(torch.zeros(1, 3, size, size))
        except Exception:
            out = None
        assert (out is not None) == (foretold.refusal(built, size) is None), size


class OneSize(nn.Module):
    """A network of one's own that reads 32 px only."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images.flatten(1))


def test_a_module_of_ones_own_is_asked_too() -> None:
    module = OneSize()
    settled = plan(64, gpu=False, backbone=module, model=None, image_size=32, recipe="photo")
    assert settled.local_views == 0
    with pytest.raises(UserError, match="--local-views 3"):
        plan(64, backbone=module, image_size=32, local_views=3)
    assert Reader("custom", 3, backbone=module).refusal(32, 48) is not None


@pytest.mark.parametrize(
    ("model", "size", "recipe", "local"),
    [
        ("resnet18", 224, "photo", 98),
        ("vit_small_patch14_dinov2", 224, "photo", 98),
        ("test_vit", 224, "photo", 224),  # could not read 98: trained at 224
        ("resnet_micro", 28, "glyph", 14),
    ],
)
def test_older_runs_keep_their_local_size(model: str, size: int, recipe: str, local: int) -> None:
    stored = replace(CONFIG, model=model, image_size=size, recipe=recipe, channels=3)
    assert local_size_before(stored) == local
    said = {"model": model, "image_size": size, "recipe": recipe, "local_views": 6}
    resumed = plan(size, **said, local_size=local, resume=True)
    assert (resumed.image_size, resumed.local_size) == (size, local)
