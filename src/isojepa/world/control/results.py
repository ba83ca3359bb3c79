"""What came out of control: control.json and the table on the screen."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from isojepa.progress import console
from isojepa.runs.folder import provenance
from isojepa.world.control.config import Prepared
from isojepa.world.control.pairs import by_distance, rate
from isojepa.world.control.recipes import describe
from isojepa.world.control.scoring import Scored

PUBLISHED_SUCCESS: dict[str, dict[str, float]] = {
    name: {"LeWorldModel": lewm, "PLDM": pldm, "DINO-WM": dino, "LeWorldModel, re-run": again}
    for name, lewm, pldm, dino, again in (
        ("swm/TwoRoom-v1", 0.87, 0.97, 1.00, 0.75),
        ("swm/ReacherDMControl-v0", 0.86, 0.78, 0.79, 0.80),
        ("swm/PushT-v1", 0.96, 0.78, 0.74, 0.85),
        ("swm/OGBCube-v0", 0.74, 0.65, 0.86, 0.64),
    )
}
"""Under the published protocol alone: strict re-runs by others count success more strictly."""
PUBLISHED_SETTING = {"protocol": "published", "offset": 25, "budget": 50, "frame_size": 224}
NOTEWORTHY = 0.01  # share of actions cut that is said on the screen


def published_beside(env_id: str, **setting: Any) -> dict[str, float]:
    """Published shares of success, where the setting is theirs; else nothing to compare with.

    Args:
        setting: protocol (which is the rule of success), offset, budget and frame size.
    """
    return PUBLISHED_SUCCESS.get(env_id, {}) if setting == PUBLISHED_SETTING else {}


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
        "cut_actions": float(np.mean([one.cut for one in ours])),
        "published": published_beside(
            known.id,
            protocol=config.protocol,
            offset=config.offset,
            budget=config.budget,
            frame_size=prepared.model.frame_size,
        ),
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
    if result["cut_actions"] >= NOTEWORTHY:
        console.print(
            f"{100 * result['cut_actions']:.0f} % of the planned actions lay beyond the "
            "environment's bounds and were cut to them",
            highlight=False,
        )
