"""Throughput of views, side by side: isojepa's matrices, torchvision v2 a sample at a time, kornia.

All three make the same recipe (random resized crop, flip, colour jitter, grey, blur, solarise) from
the same uint8 squares, on one device, in turns within one process; the ratio is taken turn by turn.
torchvision draws one set of parameters per call, so it has to be called once per sample.

Cost: 1 to 2 minutes on two cores. Run: `python benchmarks/views.py [--quick]`, with the extra
`bench` installed.
"""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import kornia.augmentation as K
import torch
import tyro
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.transforms import v2

from isojepa.encoders import draw_parameters, make_views, photo

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to time."""

    quick: bool = False
    """Fewer images and turns."""
    device: str = "cpu"
    """Where the images are."""


def isojepa_views(images: Tensor, size: int) -> Callable[[], Tensor]:
    """All samples at once, parameters included."""
    recipe = photo(size, n_global=1, n_local=0)
    aspects, step = torch.ones(len(images)), iter(range(10**9))

    def make() -> Tensor:
        n = len(images)
        parameters = draw_parameters(recipe, aspects, seed=0, step=next(step), first=0, total=n)
        return make_views(images, parameters, recipe, MEAN, STD).large[0]

    return make


def torchvision_views(images: Tensor, size: int) -> Callable[[], Tensor]:
    """A sample at a time on uint8, its fastest path."""
    kernel = 2 * (size // 20) + 1
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(size, (0.3, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, 2.0))], 0.5),
            v2.RandomSolarize(128, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    return lambda: torch.stack([transform(image) for image in images])


def kornia_views(images: Tensor, size: int) -> Callable[[], Tensor]:
    """All samples at once, with parameters drawn per sample."""
    kernel = 2 * (size // 20) + 1
    transform = K.AugmentationSequential(
        K.RandomResizedCrop((size, size), (0.3, 1.0)),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((kernel, kernel), (0.1, 2.0), p=0.5),
        K.RandomSolarize(0.5, 0.0, p=0.2),
        K.Normalize(torch.tensor(MEAN), torch.tensor(STD)),
    )
    return lambda: transform(images.float() / 255)


def seconds(make: Callable[[], Tensor]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    make()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(config: Config) -> None:
    """Time every size and print the table and the line of JSON."""
    turns, n = (3, 16) if config.quick else (7, 64)
    makers = {"isojepa": isojepa_views, "torchvision": torchvision_views, "kornia": kornia_views}
    table = Table(title=f"Views per second, median of {turns} turns of {n} images, {config.device}")
    for column in ("size", *makers, "over torchvision", "over kornia"):
        table.add_column(column, justify="right")
    ratios: dict[str, float] = {}
    for size, side in ((32, 40), (96, 120), (224, 280)):
        images = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8).to(config.device)
        made = {name: maker(images, size) for name, maker in makers.items()}
        for make in made.values():
            make()
        times = [{name: seconds(make) for name, make in made.items()} for _ in range(turns)]
        rates = {name: n / statistics.median(t[name] for t in times) for name in made}
        for peer in ("torchvision", "kornia"):
            ratios[f"{peer} {size} px"] = round(
                statistics.median(t[peer] / t["isojepa"] for t in times), 2
            )
        table.add_row(
            str(size),
            *(f"{rate:.0f}" for rate in rates.values()),
            *(f"{ratios[f'{peer} {size} px']:.1f}" for peer in ("torchvision", "kornia")),
        )
    Console().print(table)
    print(json.dumps({"benchmark": "views", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
