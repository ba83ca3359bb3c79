"""Frames that are stored as encoded images: JPEG or PNG bytes, or files of them."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from isojepa.boundaries import reading, shown
from isojepa.errors import UserError


def decode_image(path: Path, what: str, blob: object) -> UInt8[np.ndarray, "y x 3"]:
    """One encoded image.

    Args:
        path: the data set, for messages.
        what: names the frame, for messages.

    Raises:
        UserError: if it is missing, damaged, or deeper than 8 bits: one frame cannot tell their
            range.
    """
    if not isinstance(blob, bytes) or not blob:
        raise UserError(f"{shown(path)}: the image of {what} is missing (null)")

    def error(why: str) -> UserError:
        return UserError(f"{shown(path)}: the image of {what} is damaged ({why})")

    # The blob is no file whose first bytes tell why: an absent path leaves the decoder's words
    with reading(Path(), "an image", error), Image.open(io.BytesIO(blob)) as image:
        if image.mode in {"I", "F"} or image.mode.startswith("I;"):
            raise UserError(
                f"{shown(path)}: the image of {what} has pixels of mode {image.mode}, deeper than "
                "8 bits; choose a camera of colours, or store it in 8 bits"
            )
        return np.asarray(image.convert("RGB"))


def value_of(root: Path, value: object, what: Callable[[], str]) -> object:
    """The bytes of an image as LeRobot and Hugging Face store it: bytes, a path, or both.

    Raises:
        UserError: if the file that it names cannot be read.
    """
    if isinstance(value, dict):
        if value.get("bytes"):
            return value["bytes"]
        value = value.get("path")
    if isinstance(value, str) and value:
        file = root / value

        def error(why: str) -> UserError:
            return UserError(f"{shown(file)}: the image of {what()} cannot be read: {why}")

        with reading(file, "an image", error):
            return file.read_bytes()
    return value
