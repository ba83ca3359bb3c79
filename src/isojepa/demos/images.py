"""The whole job of encoders on real data that come with a dependency: scikit-learn's digits."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from isojepa.boundaries import writing
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation.results import Scores
from isojepa.encoders.pretrain import train_encoder as train
from isojepa.errors import UserError
from isojepa.progress import console, set_up_logging, track
from isojepa.runs.metrics import read_metrics
from isojepa.runs.record import read_run
from isojepa.workflow import score_run, write_report

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """The whole path on 1,797 real handwritten digits: train, score, show a collapse, report."""

    out: Path = Path("demo-run")
    """Folder to write to; replaced if an earlier demo made it."""
    steps: int = 300
    """Updates of the encoder's training."""
    collapse_steps: int = 40
    """Updates of the second run, with lambda 0."""
    seed: int = 0
    """Of everything random."""


def image_demo(config: DemoConfig) -> dict[str, Scores]:
    """Run the demo; returns the scores.

    The digits (8 x 8 pixels, from the UCI ML repository by way of scikit-learn) are written as a
    folder of PNG files and then treated as any user's images would be. 30 % are held out of
    training and used for the scores.
    """
    trained, digits, collapsed = config.out / "run", config.out / "digits", config.out / "collapsed"
    if config.out.exists() and not (config.out / "digits").is_dir() and any(config.out.iterdir()):
        raise UserError(f"--out {config.out}: something else is already there; choose another")
    write_digits(digits)
    settings = PretrainConfig(
        data=digits,
        out=trained,
        holdout=0.3,
        batch_size=128,
        global_views=4,  # few labels gain by more views where there are few images
        steps=config.steps,
        lr=4e-3,
        projection_dim=32,
        slices=256,
        tensorboard=False,
        seed=config.seed,
        overwrite=(trained / "config.json").is_file(),
    )
    console.rule("Training with LeJEPA")
    train(settings)
    console.rule("The same with lambda 0: nothing forbids a collapse")
    train(
        replace(
            settings,
            out=collapsed,
            lambd=0.0,
            steps=config.collapse_steps,
            overwrite=(collapsed / "config.json").is_file(),
        )
    )
    set_up_logging()
    say_how_it_collapsed(trained, collapsed)
    console.rule("Scores on the held-out digits")
    scores = score_run(trained)
    write_report(trained, (collapsed,))
    return scores


def write_digits(folder: Path) -> None:
    """Write scikit-learn's digits as PNG files, one folder per class, unless they are there."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    names = [folder / str(label) / f"{i:04d}.png" for i, label in enumerate(digits.target)]
    if all(name.is_file() for name in names):
        return
    with writing(folder):
        for name, picture in track(zip(names, digits.images), len(names), "writing digits"):
            name.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((picture / 16 * 255).round().astype(np.uint8)).save(name)


def say_how_it_collapsed(run: Path, collapsed: Path) -> None:
    """Put the two runs' last lines beside each other."""
    for name, folder in (("lambda 0.05", run), ("lambda 0", collapsed)):
        last = read_metrics(folder)[-1]
        log.info(
            "%s: invariance %.4f, effective rank %.1f of %d",
            name.ljust(11),
            last["invariance"],
            last["effective_rank"],
            read_run(folder).config["projection_dim"],
        )
