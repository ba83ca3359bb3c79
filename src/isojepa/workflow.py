"""The stages chained into one job: train an encoder, score it, write its report."""

import logging
from pathlib import Path

from torch import nn

from isojepa.distributed import rank
from isojepa.encoders import pretrain as training
from isojepa.encoders.config import PretrainConfig
from isojepa.encoders.evaluation.results import Scores
from isojepa.errors import UserError
from isojepa.progress import bar
from isojepa.runs.record import read_run

log = logging.getLogger(__name__)


def pretrain(config: PretrainConfig, backbone: nn.Module | None = None) -> Path:
    """Train an encoder, score it if there are labels, and write the report; returns the run.

    Args:
        config: what to do; only `data` and `out` are needed.
        backbone: a module (n, c, h, w) -> (n, d) to train in place of a timm model.

    Raises:
        UserError: for anything the user can put right.
    """
    run = training.train_encoder(config, backbone)
    if config.preview is not None or rank() != 0:
        return run
    asked = read_run(run).config["evaluate"]  # as the run has it, where it was resumed
    if asked and backbone is None and _can_be_scored(run):
        score_run(run)
    write_report(run)
    return run


def score_run(run: Path) -> dict[str, Scores]:
    """Score a trained run; without scores, and the reason said, where that is not possible."""
    # Imported when training is done: scikit-learn and the pages take a second that it need not wait
    from isojepa.encoders.evaluation import evaluate

    made = read_run(run).config
    cache = None if made.get("cache") is None else Path(made["cache"])
    settings = evaluate.EvaluateConfig(run=run, cache=cache, no_cache=bool(made.get("no_cache")))
    try:
        return evaluate.evaluate(settings)
    except UserError as error:
        log.warning("no scores: %s", error)
        return {}


def write_report(run: Path, compare: tuple[Path, ...] = ()) -> Path:
    """Write RUN/report.html and say where it is."""
    from isojepa.pages.encoder import page

    with bar(1, "report") as advance:
        path = page.write_encoder_page(run, compare)
        advance(1)
    log.info("report: %s", path)
    return path


def _can_be_scored(run: Path) -> bool:
    return read_run(run).data.get("no_scores") is None
