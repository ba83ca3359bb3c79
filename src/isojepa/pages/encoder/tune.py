"""`isojepa tune` as a command: the search, its table, and the report of what was chosen."""

import logging

from isojepa.boundaries import shown
from isojepa.encoders.selection import tuned as found
from isojepa.encoders.selection.tune import TuneConfig as TuneConfig
from isojepa.encoders.selection.tune import search
from isojepa.encoders.selection.tuned import Tuned
from isojepa.pages.encoder.page import write_encoder_page

log = logging.getLogger(__name__)


def tune(config: TuneConfig) -> Tuned:
    """Look for lambda, learning rate and recipe; show what was found, and write the report of the
    longest run with these settings beside the others of its length.

    Raises:
        UserError: for anything the user can put right.
        Interrupted: after Ctrl-C or SIGTERM; what was made is kept.
    """
    tuned = search(config)
    out = config.pretrain.out
    found.show_search(tuned)
    last = [one for one in tuned.trials if one.rung == tuned.trials[-1].rung]
    beside = [out / "runs" / one.outcome.candidate.run for one in last
              if one.outcome.candidate.loss is not None]  # fmt: skip
    own = out / tuned.run
    log.info("report: %s", write_encoder_page(own, tuple(run for run in beside if run != own)))
    log.info("next: isojepa pretrain --like %s --data DATA --out RUN", shown(out / found.BEST))
    return tuned
