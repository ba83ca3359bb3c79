"""Columns of Arrow tables as arrays: nulls as NaN, lists of unequal length told apart."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isojepa.errors import UserError


class Ragged(UserError):
    """A column of lists that differ in length: no array."""


def is_numeric(kind: pa.DataType) -> bool:
    """Whether a column holds numbers, or lists of them."""
    while (
        pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)
    ):
        kind = kind.value_type
    return pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def column_values(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column (n, ...) of numbers or of equally long lists of numbers; null becomes NaN.

    Raises:
        Ragged: for lists of unequal length.
    """
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not hasattr(column.type, "value_type") or pa.types.is_dictionary(column.type):
        return column.to_numpy(zero_copy_only=False)
    sizes = np.unique(pc.list_value_length(column).drop_null().to_numpy(zero_copy_only=False))
    if len(sizes) > 1:
        raise Ragged(f"lists of {sizes.min():g} to {sizes.max():g} numbers")
    there = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
    inner = column_values(pc.list_flatten(column))
    size = int(sizes[0]) if len(sizes) else 0
    inner = inner.reshape(len(there), size, *inner.shape[1:])
    if len(there) == len(column):
        return inner
    kind = inner.dtype if inner.dtype.kind == "f" else np.dtype(np.float64)
    out = np.full((len(column), *inner.shape[1:]), np.nan, kind)
    out[there] = inner
    return out
