"""Whether a diagnosis fits in memory: asked before any is taken."""

from isojepa import machine
from isojepa.embeddings.samples import BLOCK_ELEMENTS, Samples
from isojepa.errors import UserError

LEAST_LOOKED_AT = 1000
"""Rows below which fewer of them are no remedy."""


def check_memory(samples: Samples, looked_at: int) -> None:
    """Refuse what cannot be measured on this machine.

    Args:
        looked_at: rows drawn for tests and directions.

    Raises:
        UserError: if it needs more memory than this process may take.
    """
    n, d, room = samples.n, samples.d, machine.memory_bytes()
    if bytes_needed(n, d, looked_at) <= room:
        return
    rows, columns = min(n, looked_at), d
    while rows > LEAST_LOOKED_AT and bytes_needed(n, d, rows) > room:
        rows = max(LEAST_LOOKED_AT, rows * 9 // 10)
    while columns > 1 and bytes_needed(n, columns, rows) > room:
        columns = columns * 9 // 10
    remedy = f"--max-samples {rows} fits"
    if columns < d:
        remedy = (
            f"keep at most {columns:,} columns, of which --columns names some in a table, or save "
            "the rows times a matrix of that many random orthonormal columns, which leaves "
            "isotropic samples isotropic"
        )
    raise UserError(
        f"{samples.name}: {n:,} rows of {d:,} columns take "
        f"{bytes_needed(n, d, looked_at) / 1e9:.1f} GB of memory to diagnose, where this process "
        f"may use {room / 1e9:.1f} GB; {remedy}"
    )


def bytes_needed(n: int, d: int, looked_at: int) -> int:
    """Memory at its fullest, by count of the arrays of float64 held at once, as measured.

    Moments and their eigenvectors take square matrices of the lesser of n and d, and if that is n
    copies of all rows; the search for directions takes copies of the rows looked at.
    """
    square, rows = min(n, d) ** 2, min(n, looked_at) * d
    kept = n * d if n <= d else 0
    largest = max(6 * square + 4 * kept, 3 * square + 2 * kept + 7 * rows)
    return 8 * (largest + 3 * BLOCK_ELEMENTS)
