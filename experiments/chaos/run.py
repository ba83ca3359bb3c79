"""Every fault, many times over, and the page of what came of it.

    python experiments/chaos/run.py --quick    # one trial of each cheap fault, two minutes
    python experiments/chaos/run.py            # 20 of each: an hour on two cores; resumable

Each fault meets runs of 20 updates with a checkpoint every 4: a tiny encoder on 96 pictures and a
tiny world model on 6 episodes. Trials that are done are read from experiments/chaos/results, so
that an interrupted run goes on; `--again NAME` repeats a fault's. The exit code is 1 if anything
was not as it should be. docs/reference/reliability.md keeps what stands above its marker; the table
below it is made from the results alone. Results of several processes, each with its own `--only`,
stand beside one another.
"""

import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from faults import FAULTS
from processes import own_mounts
from scene import Undisturbed, dots, episodes, photos, stripes, undisturbed
from trial import Fault, FaultResult, Trial, Trying

from isojepa import cli, workflow
from isojepa.runs.typed import read_result, write_result

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
PAGE = ROOT / "docs" / "reference" / "reliability.md"
MARKER = "<!-- below: made by experiments/chaos/run.py from experiments/chaos/results -->"
SCENES = {"photos": "encoder", "dots": "world model"}
SECONDS = {False: 9, True: 40}  # of a trial, by whether it is costly; on two quiet cores


@dataclass(frozen=True, kw_only=True)
class ChaosConfig:
    """Inject every fault."""

    only: tuple[str, ...] = ()
    """Names of faults. Default: all."""
    again: tuple[str, ...] = ()
    """Names of faults whose trials are repeated."""
    trials: int = 20
    """Injections of each fault."""
    quick: bool = False
    """One trial of each cheap fault; writes no results and no page."""
    page_only: bool = False
    """Write the page from the results that are there."""
    table: bool = False
    """Print the page's table from the results that are there."""
    scratch: Path | None = None
    """Folder for the runs. Default: one that is removed at the end."""


def main(config: ChaosConfig) -> int:
    if config.page_only or config.table:
        print(table(results()), end="") if config.table else write_page()
        return 0
    chosen = [f for f in FAULTS if not config.only or f.name in config.only]
    chosen = [f for f in chosen if not (config.quick and f.costly)]
    trials = 1 if config.quick else config.trials
    cost = sum(SECONDS[f.costly] * trials for f in chosen)
    print(f"{len(chosen)} faults, {trials} trials each: about {cost / 60:.0f} minutes", flush=True)
    torch.set_num_threads(1)
    for verb in ("pretrain", "embed", "export", "world train", "world surprise"):
        cli.verbs(verb.split())
    workflow.write_report = _no_report  # type: ignore[assignment]
    mounts = own_mounts()
    print("half the full disks are small ones" if mounts else "full disks are injected", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        home = (config.scratch or Path(folder)).absolute()
        bases = prepare(home, chosen)
        kept = {fault.name: stored(fault, config) for fault in chosen}
        for seed in range(trials):  # of every fault some, wherever it is interrupted
            for fault in chosen:
                if seed not in {trial.seed for trial in kept[fault.name].trials}:
                    kept[fault.name] = inject(fault, bases[fault.scene], kept[fault.name], seed)
                    if not config.quick:
                        write_result(RESULTS / f"{fault.name}.json", kept[fault.name])
    wrong = sum(bool(trial.wrong) for result in kept.values() for trial in result.trials)
    if not config.quick:
        write_page()
    print(f"{wrong} trials were not as they should be")
    return int(wrong > 0)


def _no_report(run: Path, _compare: tuple[Path, ...] = ()) -> Path:
    """The page is drawn once all is saved, and takes longer than all of a tiny run."""
    return run / "report.html"


def prepare(home: Path, chosen: list[Fault]) -> dict[str, Undisturbed]:
    """The scenes that are needed, each run once undisturbed."""
    found = {}
    for name in sorted({fault.scene for fault in chosen}):
        place = home / name
        place.mkdir(parents=True, exist_ok=True)
        if name == "photos":
            scene = photos(place, stripes(place / "data", 96))
            if any(fault.name == "odd-images" for fault in chosen):
                stripes(place / "many", 2000, seed=1)
        else:
            scene = dots(place, episodes(place / "dots.h5"))
        first, found[name] = undisturbed(scene, learn=True), undisturbed(scene)
        if first.weights != found[name].weights:
            raise RuntimeError(f"{name}: two undisturbed runs differ")
        seconds, operations = found[name].seconds, found[name].operations
        print(
            f"{name}: undisturbed in {seconds:.1f} s with {operations} operations on files",
            flush=True,
        )
    return found


def stored(fault: Fault, config: ChaosConfig) -> FaultResult:
    """The trials of a fault that were made before."""
    file = RESULTS / f"{fault.name}.json"
    RESULTS.mkdir(exist_ok=True)
    if file.is_file() and not config.quick and fault.name not in config.again:
        return read_result(FaultResult, file)
    return FaultResult(name=fault.name, says=fault.says)


def inject(fault: Fault, base: Undisturbed, so_far: FaultResult, seed: int) -> FaultResult:
    """One trial more."""
    begun = time.monotonic()
    trial = fault.inject(Trying(base, fault.name, seed))
    ended = f"WRONG: {trial.wrong} ({trial.said})" if trial.wrong else "as it should"
    took = time.monotonic() - begun
    print(f"{fault.name} {seed}: {trial.what}: {ended}, {took:.0f} s", flush=True)
    return replace(so_far, trials=(*so_far.trials, trial))


def table(found: dict[str, FaultResult]) -> str:
    """A row per fault."""
    lines = [
        "| fault | trained | trials | as it should | same weights | most updates lost |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for fault in FAULTS:
        lines.append(_row(fault, found[fault.name].trials if fault.name in found else ()))
    return "\n".join(lines) + "\n"


def _row(fault: Fault, trials: tuple[Trial, ...]) -> str:
    compared = [t.identical for t in trials if t.identical is not None]
    lost = [t.lost for t in trials if t.lost is not None]
    if not trials:
        return f"| {fault.says} | {SCENES[fault.scene]} | not yet run | | | |"
    trained = SCENES[fault.scene]
    fine = sum(not t.wrong for t in trials)
    same = f"{sum(compared)} of {len(compared)}"
    return (
        f"| {fault.says} | {trained} | {len(trials)} | {fine} | {same} | {max(lost, default='–')} |"
    )


def results() -> dict[str, FaultResult]:
    """What has been made so far."""
    files = {fault.name: RESULTS / f"{fault.name}.json" for fault in FAULTS}
    return {n: read_result(FaultResult, p) for n, p in files.items() if p.is_file()}


def write_page() -> None:
    kept = PAGE.read_text().split(MARKER)[0]
    PAGE.write_text(f"{kept}{MARKER}\n\n{table(results())}")


if __name__ == "__main__":
    sys.exit(main(tyro.cli(ChaosConfig)))
