"""Every claim of the papers, one after the other, and the page of what they found.

    python experiments/claims/run.py --quick    # a minute or two; claims-quick, no page
    python experiments/claims/run.py            # some hour on one core; resumable, writes the page
    python experiments/claims/run.py --engine processes --workers 8    # repetitions side by side

Seeds already measured are read from their CSV files, so that an interrupted run goes on. The page,
docs/explanation/claims.md, keeps what stands above its marker; below, it is made from the result
files alone (`--page-only` measures nothing), and the figures are copied beside it.
"""

import importlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from claim import RESULTS, Claim, Config, Result, run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "claims.md"
PICTURES = ROOT / "docs" / "images" / "claims"
MARKER = "<!-- below: made by experiments/claims/run.py from experiments/claims/results -->"
NAMES = (
    "collapse", "probes", "local_readers", "cramer_wold", "moments", "gradients", "x_shape",
    "slices", "minibatch", "one_recipe", "selection", "identifiability", "beyond",
    "under_one_budget", "p_values",
)  # fmt: skip
"""The scripts, in the order of their claims."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(Config):
    """Measure every claim."""

    only: tuple[str, ...] = NAMES
    """Names of scripts."""
    page_only: bool = False
    """Write the page from the result files that are there."""


def load(name: str) -> Claim:
    return importlib.import_module(name).CLAIM


def page(results: Path) -> str:
    """The generated part of the page: a table of all claims, then a figure and numbers for each."""
    found = {name: results / f"{name}.json" for name in NAMES}
    done = {n: Result.from_json(p.read_text()) for n, p in found.items() if p.is_file()}
    lines = {}
    for name in NAMES:
        claim = load(name)
        lines[claim.number] = _row(claim, done.get(name))
    header = ["| | claim | verdict | cost | command |", "|---:|---|---|---|---|"]
    table = [*header, *(lines[number] for number in sorted(lines))]
    parts = [_section(result) for result in sorted(done.values(), key=lambda r: r.number)]
    return "\n".join(table) + "\n\n" + "\n".join(parts)


def _row(claim: Claim, result: Result | None) -> str:
    said = claim.statement.replace("|", "\\|")
    command = f"`python experiments/claims/{claim.name}.py`"
    if result is None:
        return f"| {claim.number} | {said} ({claim.source}) | not yet run | | {command} |"
    return (
        f"| {claim.number} | [{said}](#{claim.number}-{claim.name.replace('_', '-')}) "
        f"({claim.source}) | **{result.judgement.verdict}** | {result.seconds:.0f} s, "
        f"{result.seeds} seeds | {command} |"
    )


def _section(result: Result) -> str:
    name = result.name.replace("_", " ")
    numbers = "\n".join(
        f"| {number.what} | {number} | {number.published} |" for number in result.judgement.numbers
    )
    return (
        f"## {result.number} {name}\n\n*{result.statement}.* **{result.judgement.verdict}.** "
        f"{result.judgement.says}\n\n![{name}](../images/claims/{result.name}.png)\n\n"
        f"| mean over {result.seeds} seeds [95 % interval] | here | published |\n|---|---|---|\n"
        f"{numbers}\n"
    )


def write_page(results: Path) -> None:
    kept = PAGE.read_text().split(MARKER)[0]
    PAGE.write_text(f"{kept}{MARKER}\n\n{page(results)}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        if (results / f"{name}.png").is_file():
            shutil.copy(results / f"{name}.png", PICTURES)


def main(config: RunConfig) -> None:
    for i, name in enumerate(() if config.page_only else config.only, 1):
        begun = time.perf_counter()
        result = run(load(name), config)
        took = f"{time.perf_counter() - begun:.0f} s"
        print(f"[{i}/{len(config.only)}] {name}: {result.judgement.verdict}, {took}", flush=True)
    if config.folder == RESULTS:
        write_page(RESULTS)


if __name__ == "__main__":
    main(tyro.cli(RunConfig))
