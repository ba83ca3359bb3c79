"""Data on one core, side by side: views per second, and JPEGs decoded to squares.

Views: isojepa's compiled code, torchvision v2 and Pillow a sample at a time, kornia. All make the
same recipe (random resized crop, flip, colour jitter, grey, blur, solarise) from the same uint8
squares and end in float32 tensors of one shape; each draws its crops from the same law. torchvision
draws one set of parameters per call, so it has to be called once per sample.

Decoding: the bytes of a JPEG in memory -> a uint8 square. Every library may use its decoder's own
reduced sizes, none smaller than the square, and resizes what is left with Pillow, as we do.

In turns within one process, on one thread; ratios are taken turn by turn. Cost: 2 to 4 minutes on
one quiet core. Run: `python benchmarks/data.py [--quick]`, with the extra `bench` installed.
"""

import io
import json
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import kornia.augmentation as K
import numpy as np
import simplejpeg
import torch
import tyro
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torchvision.io import decode_jpeg
from torchvision.transforms import v2

from isojepa.boundaries import Blob
from isojepa.encoders import draw_parameters, make_views, photo
from isojepa.pixels.decoding import read_square

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


def pillow_views(images: Tensor, size: int) -> Callable[[], Tensor]:
    """A sample at a time, with Pillow's own operations and torchvision's draws of a crop."""
    pictures = [Image.fromarray(image.permute(1, 2, 0).cpu().numpy()) for image in images]
    mean, std = (torch.tensor(x)[:, None, None] for x in (MEAN, STD))

    def one(picture: Image.Image) -> Tensor:
        top, left, height, width = (
            v2.RandomResizedCrop(size, (0.3, 1.0)).make_params([picture]).values()
        )
        box = (left, top, left + width, top + height)
        view = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
        if random.random() < 0.5:
            view = ImageOps.mirror(view)
        if random.random() < 0.8:
            for change, most in ((ImageEnhance.Brightness, 0.4), (ImageEnhance.Contrast, 0.4),
                                 (ImageEnhance.Color, 0.2)):  # fmt: skip
                view = change(view).enhance(random.uniform(1 - most, 1 + most))
            hue, saturation, value = view.convert("HSV").split()
            turn = round(255 * random.uniform(-0.1, 0.1))
            hue = hue.point([(i + turn) % 256 for i in range(256)])
            view = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
        if random.random() < 0.2:
            view = view.convert("L").convert("RGB")
        if random.random() < 0.5:
            view = view.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))
        if random.random() < 0.2:
            view = ImageOps.solarize(view, 128)
        x = torch.from_numpy(np.array(view)).permute(2, 0, 1).float() / 255
        return (x - mean) / std

    return lambda: torch.stack([one(picture) for picture in pictures])


def photographs(n: int, width: int, height: int) -> list[bytes]:
    """JPEGs with as much detail as photographs have, from coarse and fine noise."""
    found = []
    for i in range(n):
        rng = np.random.default_rng(i)
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize(
            (width, height)
        )
        fine = rng.integers(-12, 12, (height, width, 1), np.int16)
        buffer = io.BytesIO()
        Image.fromarray((np.asarray(coarse) + fine).clip(0, 255).astype(np.uint8)).save(
            buffer, "JPEG", quality=85
        )
        found.append(buffer.getvalue())
    return found


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """As we resize: a box filter by whole factors, then Pillow's antialiased bicubic."""
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image)


def by_isojepa(content: bytes, side: int) -> np.ndarray:
    return read_square(Blob("x.jpg", content), side, 3).pixels.transpose(1, 2, 0)


def by_pillow(content: bytes, side: int) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        image.draft("RGB", (side, side))
        return resized(np.asarray(image.convert("RGB")), side)


def by_simplejpeg(content: bytes, side: int) -> np.ndarray:
    options = {"min_height": side, "min_width": side, "min_factor": 1.0}
    return resized(simplejpeg.decode_jpeg(content, **options), side)


def by_opencv(content: bytes, side: int) -> np.ndarray:
    height, width, *_ = simplejpeg.decode_jpeg_header(content)
    reduce = max([k for k in (1, 2, 4, 8) if min(height, width) // k >= side], default=1)
    flags = {1: cv2.IMREAD_COLOR_RGB, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4,
             8: cv2.IMREAD_REDUCED_COLOR_8}  # fmt: skip
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags[reduce])
    assert pixels is not None
    return resized(pixels if reduce == 1 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), side)


def by_torchvision(content: bytes, side: int) -> np.ndarray:
    """It has no reduced sizes."""
    pixels = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return resized(pixels.permute(1, 2, 0).contiguous().numpy(), side)


DECODERS = {
    "isojepa": by_isojepa, "Pillow": by_pillow, "simplejpeg": by_simplejpeg, "OpenCV": by_opencv,
    "torchvision": by_torchvision,
}  # fmt: skip
SIZES = ((320, 240, 120), (640, 480, 280), (2000, 1500, 280))
"""Width and height of the JPEGs, and the side of the squares."""
ALIKE = 6.0
"""Levels of 255 by which squares of different decoders may differ in the mean."""


def all_decoded(decode: Callable, contents: list[bytes], side: int) -> Callable[[], object]:
    return lambda: [decode(content, side) for content in contents]


def seconds(make: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    make()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


Times = list[dict[str, float]]


def measured(made: Mapping[str, Callable[[], object]], turns: int) -> Times:
    """Seconds of each in each turn; what is first in one turn is last in the next."""
    for make in made.values():
        make()
    order = list(made)
    found = []
    for turn in range(turns):
        names = order if turn % 2 else order[::-1]
        found.append({name: seconds(made[name]) for name in names})
    return found


def add_row(table: Table, what: str, times: Times, n: int) -> dict[str, float]:
    """One line of rates a second; returns how many times faster we are than each other."""
    names = [column.header for column in table.columns[1:]]
    rates = (n / statistics.median(t[str(name)] for t in times) for name in names)
    table.add_row(what, *(f"{rate:,.0f}" for rate in rates))
    others = [str(name) for name in names if name != "isojepa"]
    return {
        f"{name} {what}": round(statistics.median(t[name] / t["isojepa"] for t in times), 2)
        for name in others
    }


def table_of(title: str, names: dict) -> Table:
    table = Table(title=title)
    for column in ("", *names):
        table.add_column(str(column), justify="right")
    return table


def time_views(config: Config, turns: int, n: int) -> dict[str, float]:
    makers = {"isojepa": isojepa_views, "torchvision": torchvision_views, "kornia": kornia_views,
              "Pillow": pillow_views}  # fmt: skip
    table = table_of(f"Views a second, {turns} turns of {n} images, {config.device}", makers)
    ratios: dict[str, float] = {}
    for size, side in ((32, 40), (96, 120), (224, 280)):
        images = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8).to(config.device)
        made = {name: maker(images, size) for name, maker in makers.items()}
        shapes = {name: tuple(make().shape) for name, make in made.items()}
        assert set(shapes.values()) == {(n, 3, size, size)}, shapes
        ratios |= add_row(table, f"{size} px", measured(made, turns), n)
    Console().print(table)
    return ratios


def time_decoding(turns: int, n: int) -> dict[str, float]:
    table = table_of(f"JPEGs a second to squares, {turns} turns of {n}", DECODERS)
    ratios: dict[str, float] = {}
    for width, height, side in SIZES:
        contents = photographs(n, width, height)
        squares = [decode(contents[0], side).astype(float) for decode in DECODERS.values()]
        apart = max(float(np.abs(x - squares[0]).mean()) for x in squares)
        assert apart < ALIKE, f"the decoders' squares differ by {apart:.1f} levels"
        made = {name: all_decoded(by, contents, side) for name, by in DECODERS.items()}
        ratios |= add_row(table, f"{width}x{height} to {side}", measured(made, turns), n)
    Console().print(table)
    return ratios


def main(config: Config) -> None:
    """Time both, print the tables and the line of JSON."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    turns, n = (2, 8) if config.quick else (9, 64)
    ratios = time_views(config, turns, n) | time_decoding(turns, n)
    print(json.dumps({"benchmark": "data", "ratios": ratios}))


if __name__ == "__main__":
    main(tyro.cli(Config))
