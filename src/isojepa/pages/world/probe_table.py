"""Probes as the page shows them: a row per quantity and representation."""

from typing import NamedTuple

from isojepa.world.analysis.probe_results import ProbeResult
from isojepa.world.analysis.probes import ProbeScore

REPRESENTATIONS = {
    "model": "This model",
    "untrained": "The same model, untrained",
    "pixels": "PCA of the frames",
}


class ProbeRow(NamedTuple):
    """A quantity under one representation."""

    quantity: str
    span: int
    """Rows of the quantity, in its first one; else 0."""
    representation: str
    ours: bool
    published: float | None
    linear: ProbeScore
    mlp: ProbeScore
    best: tuple[bool, bool]
    """Whether the linear probe, and the MLP, read it best from this representation."""


def probe_rows(result: ProbeResult | None) -> list[ProbeRow]:
    """The rows of the table."""
    rows = []
    for one in result.quantities if result else ():
        present = one.scores.present
        linear = max(scores.linear.r or 0.0 for scores in present.values())
        mlp = max(scores.mlp.r or 0.0 for scores in present.values())
        for i, (name, scores) in enumerate(present.items()):
            rows.append(
                ProbeRow(
                    quantity=one.quantity.name + (" (angle)" if one.quantity.angle else ""),
                    span=0 if i else len(present),
                    representation=REPRESENTATIONS[name],
                    ours=name == "model",
                    published=one.published_r if name == "model" else None,
                    linear=scores.linear,
                    mlp=scores.mlp,
                    best=((scores.linear.r or 0) >= linear, (scores.mlp.r or 0) >= mlp),
                )
            )
    return rows
