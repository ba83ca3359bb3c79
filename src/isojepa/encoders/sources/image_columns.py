"""Which column of a table holds the pictures, and which their classes."""

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from isojepa.boundaries import reading, shown
from isojepa.encoders.sources.label_table import LABEL_WORDS
from isojepa.errors import UserError

USUAL = ("image", "img", "picture", "photo")


class ImageColumns(NamedTuple):
    """The columns of a table of pictures."""

    image: str
    nested: bool
    """Whether a cell is a struct of bytes and a path, rather than bytes."""
    path: str | None
    """Of the pictures' names, inside the struct."""
    label: str | None
    names: tuple[str, ...] | None
    """Of the classes, where the labels count them."""
    notes: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The column of bytes, as Parquet calls it."""
        return f"{self.image}.bytes" if self.nested else self.image


def choose_columns(path: Path, schema: pa.Schema) -> ImageColumns:
    """The columns that can be meant, by their types and by what `datasets` says of them.

    Raises:
        UserError: if no column can hold pictures, or several can and none is called "image".
    """
    features = _features(schema)
    found = [field for field in schema if _may_hold_pictures(field.type)]
    said = [field for field in found if features.get(field.name, {}).get("_type") == "Image"]
    found = said or found
    usual = [field for field in found if field.name in USUAL]
    if len(found) > 1 and len(usual) == 1:
        found = usual
    where = f"--data {shown(path)}"
    if not found:
        kinds = ", ".join(f"{shown(field.name)}: {_in_words(field.type)}" for field in schema)
        raise UserError(
            f"{where}: no column of images ({kinds[:200]}); it has to be of binary data, or of "
            "structs with bytes"
        )
    if len(found) > 1:
        names = ", ".join(shown(field.name) for field in found)
        raise UserError(
            f"{where}: several columns may hold the images ({names}); call the right one 'image', "
            "or leave the others out"
        )
    image = found[0]
    nested = pa.types.is_struct(image.type)
    inner = {field.name: field.type for field in image.type} if nested else {}
    path_column = f"{image.name}.path" if pa.types.is_string(inner.get("path", pa.null())) else None
    label, notes = _label(schema, features)
    classes = features.get(label or "", {}).get("names")
    is_counted = isinstance(classes, list) and all(isinstance(one, str) for one in classes)
    counted = tuple(map(str, classes or ())) if is_counted else None
    return ImageColumns(image.name, nested, path_column, label, counted, notes)


def holds_pictures(path: Path) -> bool:
    """Whether a Parquet file has a column that may hold pictures; False for other files."""
    if path.suffix.lower() not in {".parquet", ".pq"}:
        return False
    try:
        with reading(path, "a Parquet table"):
            return any(_may_hold_pictures(field.type) for field in pq.read_schema(path))
    except UserError:
        return False


def class_name(value: object, columns: ImageColumns) -> str | None:
    """The class of a cell; None where it has none (-1, as `datasets` writes it, or nothing)."""
    if value is None or value == "":
        return None
    if columns.names is None:
        return str(value)
    number = value if isinstance(value, int) else -1
    return columns.names[number] if 0 <= number < len(columns.names) else None


def _label(schema: pa.Schema, features: dict[str, dict]) -> tuple[str | None, tuple[str, ...]]:
    """The column of classes, and what to say of it."""
    plain = [f.name for f in schema if _may_be_class(f.type)]
    said = [name for name in plain if features.get(name, {}).get("_type") == "ClassLabel"]
    words = [name for name in plain if name.lower().replace("_", "") in LABEL_WORDS]
    found = said or words
    exact = [name for name in found if name == "label"]
    found = exact if len(exact) == 1 else found
    if len(found) > 1:
        names = ", ".join(map(shown, found))
        return None, (
            f"several columns of classes ({names}), none called 'label': none is used; give "
            "--labels for scores",
        )
    return (found[0] if found else None), ()


def _features(schema: pa.Schema) -> dict[str, dict]:
    """What `datasets` says of each column, in the schema's metadata; {} where it does not."""
    try:
        info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = info["info"]["features"]
        return {name: x for name, x in features.items() if isinstance(x, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _may_hold_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _may_be_class(kind: pa.DataType) -> bool:
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return is_text or pa.types.is_integer(kind) or pa.types.is_boolean(kind)


def _in_words(kind: pa.DataType) -> str:
    is_own = isinstance(kind, pa.BaseExtensionType)
    return f"extension type {kind.extension_name}" if is_own else str(kind)
