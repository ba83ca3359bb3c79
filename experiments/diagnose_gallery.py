"""What `isojepa diagnose` says of laws that are known, and of the demo before and after training.

    python experiments/diagnose_gallery.py --out gallery --pictures docs/images

Writes one file of embeddings per case, diagnoses it, prints a table of verdicts and, with
--pictures and a Chromium, takes the pictures of docs/explanation/known-laws.md. The demo is run
first unless --demo names the folder of an earlier one. Two minutes on two cores, one more for the
demo.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from PIL import Image
from rich.console import Console
from rich.table import Table

from isojepa import diagnose, load_encoder
from isojepa.demos.images import DemoConfig
from isojepa.demos.images import image_demo as run_demo
from isojepa.encoders import Encoder

N, D = 4000, 32
Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Make the gallery."""

    out: Path
    """Folder for the embeddings and their pages."""
    demo: Path | None = None
    """Folder that `isojepa demo --out` wrote; run anew in OUT/demo by default."""
    pictures: Path | None = None
    """Folder for the pictures, none by default."""


def gaussian(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, D))


def collapsed(rng: np.random.Generator) -> np.ndarray:
    return 1.5 + 0.01 * rng.standard_normal((N, D))


def dimensionally_collapsed(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, 6)) @ rng.standard_normal((6, D)) / np.sqrt(6)


def anisotropic(rng: np.random.Generator) -> np.ndarray:
    rotation = np.linalg.qr(rng.standard_normal((D, D)))[0]
    deviations = np.geomspace(4, 0.2, D)
    return rng.standard_normal((N, D)) * deviations / np.sqrt((deviations**2).mean()) @ rotation


def heavy_tailed(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((N, D)) * np.sqrt(3 / rng.chisquare(5, (N, 1)))


def clustered(rng: np.random.Generator) -> np.ndarray:
    centres = rng.standard_normal((6, D))
    centres *= 6 / np.linalg.norm(centres, axis=1, keepdims=True)
    return (centres - centres.mean(0))[rng.integers(6, size=N)] + rng.standard_normal((N, D))


def outliers(rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((N, D))
    x[[404, 1234, 3141]] *= 8
    return x


def repeated(rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((N, D))
    x[2000:2400] = x[:400]
    return x


LAWS: dict[str, Draw] = {
    draw.__name__.replace("_", "-"): draw
    for draw in (
        gaussian, collapsed, dimensionally_collapsed, anisotropic, heavy_tailed, clustered,
        outliers, repeated,
    )
}  # fmt: skip


def demo_embeddings(demo: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Of all digits by the encoder before and after training, and of some by its projector."""
    trained = load_encoder(demo / "run")
    assert isinstance(trained, Encoder)
    torch.manual_seed(0)
    untrained = Encoder(trained.spec).eval()
    files = sorted((demo / "digits").rglob("*.png"))
    images = torch.stack([trained.preprocess(Image.open(file)) for file in files])
    for name, encoder in (("before", untrained), ("after", trained)):
        with torch.no_grad():
            yield f"demo-{name}-training", encoder(images).numpy()
    yield "demo-projections", np.load(demo / "run" / "sample.npz")["projections"]
    yield "demo-projections-lambda-0", np.load(demo / "collapsed" / "sample.npz")["projections"]


def picture(page: Path, out: Path) -> None:
    """The verdict and its two most telling plots as one PNG; needs playwright and a Chromium."""
    from playwright.sync_api import sync_playwright

    browser = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-gpu"]
        )
        view = chromium.new_page(viewport={"width": 1180, "height": 900})
        view.goto(page.resolve().as_uri())
        view.wait_for_function(
            "typeof Bokeh === 'undefined' || (Bokeh.documents.length && Bokeh.documents[0].is_idle)"
        )
        parts = [".verdict", ".facts", "#spread .grid", "#directions .grid"]
        shots = [
            Image.open(io.BytesIO(view.locator(part).first.screenshot())).convert("RGB")
            for part in parts
            if view.locator(part).count()
        ]
        chromium.close()
    gap = 16
    height = sum(shot.height for shot in shots) + gap * (len(shots) + 1)
    sheet = Image.new("RGB", (shots[0].width + 2 * gap, height), "white")
    top = gap
    for shot in shots:
        sheet.paste(shot, (gap, top))
        top += shot.height + gap
    sheet = sheet.resize((900, round(900 * sheet.height / sheet.width)), Image.Resampling.LANCZOS)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(96, dither=Image.Dither.NONE).save(out, optimize=True)


def main(config: Config) -> None:
    config.out.mkdir(parents=True, exist_ok=True)
    demo = config.demo or config.out / "demo"
    if not (demo / "run" / "sample.npz").is_file():
        run_demo(DemoConfig(out=demo))
    cases = {name: draw(np.random.default_rng(0)) for name, draw in LAWS.items()}
    cases |= dict(demo_embeddings(demo))
    table = Table("file", "samples", "verdict", "also")
    for name, x in cases.items():
        file = config.out / f"{name}.npy"
        np.save(file, x.astype(np.float32))
        # An encoder's output has no scale of its own: SIGReg acts on the projections.
        any_scale = name in ("demo-before-training", "demo-after-training")
        diagnosis = diagnose(np.load(file), any_scale=any_scale, name=file.name)
        page = diagnosis.save(file.with_name(f"{file.name}.diagnosis.html"))
        also = ", ".join(diagnosis.states[1:])
        table.add_row(file.name, f"{len(x):,} x {x.shape[1]}", diagnosis.state, also)
        if config.pictures is not None:
            picture(page, config.pictures / f"diagnose-{name}.png")
    Console(width=110).print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
