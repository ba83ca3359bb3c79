"""`isojepa world surprise`: does a model notice when the world does what it never does?"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64

from isojepa.boundaries import writing
from isojepa.progress import console
from isojepa.runs.folder import Provenance, provenance, save_arrays
from isojepa.runs.settings import require
from isojepa.runs.typed import write_result
from isojepa.world.analysis.events import (
    choose_clips,
    choose_donors,
    clip_reader,
    recoloured,
    split_by_episode,
    teleported,
    unit_of_distance,
)
from isojepa.world.analysis.study import StudyConfig, sampled
from isojepa.world.analysis.surprise_results import (
    Jump,
    SurpriseArrays,
    SurpriseResult,
    UsualAndTested,
    UsualErrors,
    event_result,
    surprise_table,
)
from isojepa.world.episodes.trajectories import Clips
from isojepa.world.learning.measures import encode
from isojepa.world.model.world_model import WorldModel

log = logging.getLogger(__name__)
EXAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class SurpriseConfig(StudyConfig):
    """Measure a world model's surprise, its error against the next frame, at impossible events.

    Held-out episodes are continued by another moment of the data set (teleport) or in other
    colours from some frame on. What error is usual is learnt from other held-out episodes.
    """

    clips: int = 256
    """Clips at most, half of them to learn what is usual."""
    out: Path | None = None
    """JSON file for the result; arrays for plots go beside it. Default: RUN/surprise.json."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.clips >= 8, "--clips must be at least 8")


def measure_surprise(config: SurpriseConfig) -> SurpriseResult:
    """Measure, print the table, and write surprise.json and surprise.npz.

    Raises:
        UserError: if the run or the data cannot be read, do not fit, or there are fewer than four
            held-out episodes that are long enough.
    """
    out = config.out or config.run / "surprise.json"
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    study = config.open()
    window, positions = choose_clips(study, most=config.clips, seed=config.seed)
    usual, tested = split_by_episode(positions)
    read = clip_reader(study, window)
    errors = surprise(study.model, read(usual))[:, window.first :].ravel()
    unit = max(float(np.median(errors)), 1e-12)
    null = errors / unit
    clips = read(tested)
    donors, jump = choose_donors(study, positions, tested, window, seed=config.seed)
    changed = {
        "unchanged": clips,
        "teleport": teleported(clips, read(donors), window.event),
        "colour": recoloured(clips, window.event),
    }
    traces = {name: surprise(study.model, one) / unit for name, one in changed.items()}
    result = SurpriseResult(
        environment=study.trajectories.env_id,
        data=str(study.data),
        unseen=study.unseen,
        episodes=UsualAndTested(len(set(usual[:, 0])), len(set(tested[:, 0]))),
        clips=UsualAndTested(len(usual), len(tested)),
        **window._asdict(),
        usual=UsualErrors(
            errors=len(errors),
            median=unit,
            quantile_95=float(np.quantile(errors, 0.95)) / unit,
            quantile_99=float(np.quantile(errors, 0.99)) / unit,
        ),
        jump=Jump(median=float(np.median(jump)), unit=unit_of_distance(study)),
        conditions={
            name: event_result(name, one, traces["unchanged"], null, window, tested[:, 0])
            for name, one in traces.items()
        },
        seed=config.seed,
        provenance=Provenance(**provenance(next(study.model.parameters()).device)),
    )
    console.print(surprise_table(result))
    shown = middle_examples(traces["teleport"][:, window.event], tested[:, 0])
    arrays = SurpriseArrays(sampled(null, 5000, seed=0), jump, *(
        array for name, clips in changed.items() for array in (
            clips.frames[shown].permute(0, 1, 3, 4, 2).numpy(),
            traces[name][shown],
            traces[name][:, window.event],
        )
    ))  # fmt: skip
    save_arrays(out.with_suffix(".npz"), **arrays._asdict())
    write_result(out, result)
    log.info("%s", out)
    return result


@torch.no_grad()
def surprise(model: WorldModel, clips: Clips) -> Float64[np.ndarray, "n t"]:
    """Mean squared error of each frame's embedding against its prediction from those before.

    One block ahead, from the embeddings of real frames; NaN at the first frame.
    """
    z = encode(model, clips.frames)
    actions = clips.actions.to(z.device)
    parts = [
        (model.predict(z_part[:, :-1], a_part[:, :-1]) - z_part[:, 1:]).square().mean(-1)
        for z_part, a_part in zip(z.split(64), actions.split(64))
    ]
    errors = torch.cat(parts).cpu().double().numpy()
    return np.concatenate([np.full((len(errors), 1), np.nan), errors], 1)


def middle_examples(
    event: Float64[np.ndarray, " n"], episode: Int64[np.ndarray, " n"]
) -> Int64[np.ndarray, " k"]:
    """Clips to show, each of another episode: those in the middle of the events' surprise."""
    order = np.argsort(np.abs(event - np.median(event)), kind="stable")
    seen: dict[int, int] = {}
    for i in order.tolist():
        seen.setdefault(int(episode[i]), i)
    return np.array(list(seen.values())[:EXAMPLES], np.int64)
