"""The page of an agent that learnt by acting: its curves, a film, what to make of them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bokeh.models import NumeralTickFormatter
from bokeh.plotting import figure
from scipy import stats

from isojepa.boundaries import reading
from isojepa.pages.run import Run, load_run
from isojepa.runs.typed import read_result
from isojepa.theme.curves import Curve, draw_curve
from isojepa.theme.findings import LEVELS, Finding, Verdict, gravest_first
from isojepa.theme.render import data_uri, render
from isojepa.theme.style import BLUE, GREEN, ORANGE, PURPLE, level_line, new_figure
from isojepa.theme.wording import duration, number, percent
from isojepa.version import __version__
from isojepa.world.agent.learnt import LEARNT, Learnt

FILM = "agent.gif"
COLLAPSED, MANY_DORMANT, SIGREG_FLOOR = 1.5, 0.2, 1.06
PLOTS: dict[str, tuple[str, tuple[tuple[str, str, str], ...]]] = {
    "return": ("Return of an episode", (
        ("train_return", "training, exploring", BLUE), ("test_return", "evaluation", ORANGE))),
    "success": ("Success", (
        ("train_success", "training, exploring", BLUE), ("test_success", "evaluation", ORANGE))),
    "prediction": ("Prediction error", (
        ("prediction", "one decision ahead", BLUE), ("rollout", "further", PURPLE))),
    "heads": ("Cross-entropy of the heads", (
        ("reward", "reward", BLUE), ("value", "value", ORANGE),
        ("continuation", "continuation", GREEN))),
    "target": ("What values are trained towards", (("target", "mean", BLUE),)),
    "sigreg": ("SIGReg: how far from Gaussian", (("sigreg", "", BLUE),)),
    "rank": ("Effective rank", (("effective_rank", "", BLUE),)),
    "p": ("p-value of N(0, I)", (("gaussianity_p", "", BLUE),)),
    "dormant": ("Share of dormant units", (("dormant", "", BLUE),)),
}  # fmt: skip
"""Titles, and of each curve its metric, its name and its colour."""
SPARSE = {"test_return", "test_success", "effective_rank", "gaussianity_p", "dormant"}


class AgentRun(NamedTuple):
    """One run folder of `isojepa world learn`."""

    run: Run
    learnt: Learnt | None
    """None before the first evaluation."""
    film: bytes | None

    def curve(self, key: str) -> Curve:
        """Environment steps and values of a metric."""
        logged = [(m["env_steps"], m[key]) for m in self.run.metrics if m.get(key) is not None]
        steps, values = np.array(logged, np.float64).reshape(-1, 2).T
        return steps, values


def is_agent(run: Path) -> bool:
    """Whether a run is of an agent that acts."""
    return (run / LEARNT).is_file() or (run / "replay").is_dir()


def agent_page(path: Path) -> str:
    """The page, as HTML.

    Raises:
        UserError: if the folder is no run, or a file in it is malformed.
    """
    film = None
    if (path / FILM).is_file():
        with reading(path / FILM, "a film"):
            film = (path / FILM).read_bytes()
    learnt = read_result(Learnt, path / LEARNT) if (path / LEARNT).is_file() else None
    agent = AgentRun(load_run(path), learnt, film)
    record = agent.run.record
    return render(
        Path(__file__).with_name("agent.html"),
        {f"curve_{name}": plot for name, plot in _plots(agent)},
        run=agent.run,
        learnt=learnt,
        film=data_uri(film, "gif") if film else None,
        verdict=judge_agent(agent),
        facts=list(_facts(agent)),
        data=record.data,
        versions=record.made.versions,
        version=__version__,
    )


def judge_agent(agent: AgentRun) -> Verdict:
    """What the run amounts to."""
    findings = gravest_first([*_about_return(agent), *_about_representation(agent)])
    deciding = [f for f in findings if f.state]
    if not deciding:
        return Verdict(
            states=("Not evaluated yet",), level="note", findings=tuple(findings),
            summary="No evaluation has been made: go on with --resume.",
        )  # fmt: skip
    first = min(deciding, key=lambda f: LEVELS.index(f.level))
    remedies = tuple(f.remedy for f in findings if f.remedy)
    return Verdict(
        states=tuple(f.state for f in deciding if f.state), level=first.level,
        summary=f"{first.title}. {first.detail}", remedies=remedies, findings=tuple(findings),
    )  # fmt: skip


def _about_return(agent: AgentRun) -> Iterator[Finding]:
    learnt, (steps, values) = agent.learnt, agent.curve("train_return")
    if learnt is None:
        return
    returns = np.array(learnt.returns)
    mean, low, high = _interval(returns)
    within = f"{number(mean)} [{number(low)}, {number(high)}] over {len(returns)} episodes"
    chance = [v for s, v in zip(steps, values) if s <= agent.run.settings.get("random_steps", 0)]
    if not chance:
        yield Finding("note", "Return", f"{within}; chance was not measured.", state="Learnt")
    elif low > chance[-1]:
        detail = f"Mean return {within}, 95 % interval; chance had {number(chance[-1])}."
        yield Finding("good", "It acts better than chance", detail, state="Acts")
    else:
        detail = f"Mean return {within}, 95 % interval; chance had {number(chance[-1])}."
        remedy = "More --env-steps, or more exploration (--explore-until, --hold)"
        title = "It acts no better than chance"
        yield Finding("problem", title, detail, remedy, state="Not learnt")
    if learnt.success is not None:
        yield Finding("note", f"{percent(learnt.success)} of the evaluation's episodes succeed",
                      "As the environment defines success.")  # fmt: skip


def _about_representation(agent: AgentRun) -> Iterator[Finding]:
    learnt = agent.learnt
    if learnt is None:
        return
    d = agent.run.settings.get("embedding_dim")
    if learnt.effective_rank < COLLAPSED and d != 1:
        detail = f"Effective rank {number(learnt.effective_rank)} of {d}: all frames look alike."
        remedy = "A larger --lambd keeps embeddings apart"
        yield Finding("warning", "The representation has collapsed", detail, remedy)
    if learnt.dormant > MANY_DORMANT:
        detail = f"{percent(learnt.dormant)} of the hidden units hardly ever say anything."
        yield Finding("warning", "Many units are dormant", detail, "A smaller --lr")
    word = "is" if learnt.gaussianity_p > 0.05 else "is not"
    yield Finding(
        "note", f"The embedding {word} N(0, I)",
        f"p = {number(learnt.gaussianity_p)} by SIGReg's statistic; deviation of a coordinate "
        f"{number(learnt.deviation)}. Frames of one episode are alike, which makes p smaller.",
    )  # fmt: skip


def _interval(x: np.ndarray) -> tuple[float, float, float]:
    mean = float(x.mean())
    if len(x) < 2 or np.ptp(x) == 0:
        return mean, mean, mean
    half = float(stats.t.ppf(0.975, len(x) - 1) * stats.sem(x))
    return mean, mean - half, mean + half


def _facts(agent: AgentRun) -> Iterator[tuple[str, str, str]]:
    learnt, settings = agent.learnt, agent.run.settings
    if learnt is not None:
        yield ("Return", number(float(np.mean(learnt.returns))),
               f"mean of {len(learnt.returns)} episodes")  # fmt: skip
        if learnt.success is not None:
            yield "Success", percent(learnt.success), "of the evaluation's episodes"
        yield "Environment steps", f"{learnt.env_steps:,}", f"{learnt.episodes:,} episodes"
        yield ("Effective rank", f"{learnt.effective_rank:.1f}",
               f"of {settings.get('embedding_dim')} directions")  # fmt: skip
    if (seconds := agent.run.record.seconds) is not None:
        yield "Time", duration(seconds), f"{settings.get('steps', 0):,} updates"


def _plots(agent: AgentRun) -> Iterator[tuple[str, figure]]:
    for name, (title, parts) in PLOTS.items():
        curves = [(agent.curve(key), key, label, colour) for key, label, colour in parts]
        curves = [c for c in curves if len(c[0][0]) and np.isfinite(c[0][1]).any()]
        if not curves or all(not np.any(c[0][1]) for c in curves):
            continue
        low = min(float(np.nanmin(c[0][1])) for c in curves)
        log = name in {"prediction", "sigreg"} and low > 0
        plot = new_figure(title, legend=len(parts) > 1, x_axis_label="environment step",
                          y_axis_type="log" if log else "linear")  # fmt: skip
        plot.xaxis.formatter = NumeralTickFormatter(format="0,0")
        for curve, key, label, colour in curves:
            draw_curve(plot, curve, label, colour, smooth=key not in SPARSE,
                       legend=len(parts) > 1, unit="step")  # fmt: skip
        if name == "sigreg":
            level_line(plot, SIGREG_FLOOR, "1.06: a perfect Gaussian", GREEN, below=True)
        if name == "rank" and math.isfinite(low):
            level_line(plot, 1.0, "1: collapsed", ORANGE)
        yield name, plot
