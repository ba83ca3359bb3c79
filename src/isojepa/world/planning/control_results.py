"""What came out of control: control.json and the table on the screen."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from isojepa.progress import console
from isojepa.run_folder import provenance
from isojepa.world.planning.pairs import by_distance, rate
from isojepa.world.planning.plan_config import Prepared
from isojepa.world.planning.recipes import describe
from isojepa.world.planning.scoring import Scored

PUBLISHED_SUCCESS: dict[str, dict[str, dict[str, float]]] = {
    name: {
        "published": {
            "LeWorldModel": lewm, "PLDM": pldm, "DINO-WM": dino, "LeWorldModel, re-run": again,
        },
        "strict": {"LeWorldModel, re-run": strict},
    }
    for name, lewm, pldm, dino, again, strict in (
        ("swm/TwoRoom-v1", 0.87, 0.97, 1.00, 0.75, 0.24),
        ("swm/ReacherDMControl-v0", 0.86, 0.78, 0.79, 0.80, 0.36),
        ("swm/PushT-v1", 0.96, 0.78, 0.74, 0.85, 0.79),
        ("swm/OGBCube-v0", 0.74, 0.65, 0.86, 0.64, 0.18),
    )
}  # fmt: skip


def summarise(
    prepared: Prepared, scored: dict[str, list[Scored]], seeds: list[int]
) -> dict[str, Any]:
    """What control.json holds."""
    config, known = prepared.config, prepared.known
    ours = scored["plan"]
    success = np.concatenate([one.success for one in ours])
    distance = np.concatenate([one.distance for one in ours])
    plans = sum(one.plans for one in ours)
    reached = np.concatenate([one.steps for one in ours])[success]
    return {
        **rate(success).as_json(),
        "protocol": config.protocol,
        "environment": known.id,
        "plan_seconds": sum(one.plan_seconds * one.plans for one in ours) / plans,
        "sequences_per_plan": sum(one.evaluations * one.plans for one in ours) / plans,
        "median_steps": float(np.median(reached)) if len(reached) else None,
        "seeds": [{"seed": s, **rate(one.success).as_json()} for s, one in zip(seeds, ours)],
        "by_distance": [
            {"from": low, "to": high, **share.as_json()}
            for low, high, share in by_distance(distance, success)
        ],
        "distance_unit": known.unit,
        "baselines": {
            name: rate(np.concatenate([one.success for one in each])).as_json()
            for name, each in scored.items()
            if name != "plan"
        },
        "published": PUBLISHED_SUCCESS.get(known.id, {}).get(config.protocol, {}),
        "settings": describe(prepared.recipe),
        "config": {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()},
        **provenance(next(prepared.model.parameters()).device),
    }


def show(result: dict[str, Any]) -> None:
    """Print the result."""
    table = Table(
        title=f"{result['environment']}, {result['protocol']} protocol: {result['pairs']} goals "
        f"{result['config']['offset']} steps ahead, budget {result['config']['budget']}"
    )
    for name in ("", "success", "95 % interval"):
        table.add_column(name, justify="left" if not name else "right")

    def row(name: str, share: dict[str, Any]) -> None:
        low, high = share["interval"]
        table.add_row(
            name, f"{100 * share['success']:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}"
        )

    row("planning", result)
    for part in result["by_distance"]:
        row(f"  {part['from']:.3g} to {part['to']:.3g} {result['distance_unit']}", part)
    for name, share in result["baselines"].items():
        row(name, share)
    for name, value in result["published"].items():
        table.add_row(f"published: {name}", f"{100 * value:.0f} %", "")
    console.print(table)
    console.print(
        f"{result['plan_seconds'] * 1000:.1f} ms and {result['sequences_per_plan']:.0f} sequences "
        "per plan",
        highlight=False,
    )
