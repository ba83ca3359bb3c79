"""DICOM through pydicom: in its own units, in the window it was stored with, upright in value.

The values are rescaled (to Hounsfield units, say); where the file has a window, that becomes 8 bits
as a viewer shows it. MONOCHROME1, in which small values are bright, is turned around. Of several
frames the first is read.
"""

import importlib.util
from typing import Any

import numpy as np

from isojepa.boundaries import reading
from isojepa.pixels.deep import to_byte
from isojepa.pixels.items import Encoded
from isojepa.pixels.rasters import Raster
from isojepa.pixels.unreadable import Unreadable

PREAMBLE = 128  # bytes before the mark
MARK = b"DICM"
MOST_PIXELS = 500_000_000
REMEDY = (
    "a DICOM file: `pip install isojepa[data]` (pydicom) to read it, or export it as PNG or TIFF"
)


def is_dicom(item: Encoded) -> bool:
    """Whether a file has DICOM's mark."""
    try:
        with item.open("rb") as file:
            return file.read(PREAMBLE + len(MARK))[PREAMBLE:] == MARK
    except OSError:
        return False


def read_dicom(item: Encoded) -> Raster:
    """The first frame of a DICOM file: 8 bits where it has a window or colours, else its values.

    Raises:
        Unreadable: if it cannot be read, has no pixels, or pydicom is not there.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise Unreadable(REMEDY)
    import pydicom
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    with reading(item, "a DICOM image", lambda why: Unreadable(f"damaged or truncated: {why}")):
        with item.open("rb") as file:
            data = pydicom.dcmread(file)
        if "PixelData" not in data and "FloatPixelData" not in data:
            raise Unreadable(f"a DICOM file without pixels ({data.get('Modality', 'no modality')})")
        if data.Rows * data.Columns > MOST_PIXELS:
            raise Unreadable(f"{data.Columns} x {data.Rows} pixels are beyond the limit")
        frames = int(data.get("NumberOfFrames") or 1)
        values = pixel_array(data, index=0 if frames > 1 else None)
        if data.PhotometricInterpretation == "PALETTE COLOR":
            values = apply_color_lut(values, data)
            values = (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
        values = values[..., None] if values.ndim == 2 else values
        if values.dtype == np.uint8 and data.BitsStored < 8:  # masks of one bit, say
            values = to_byte(values, int(data.BitsStored))
        if values.shape[-1] == 1:
            values = _in_units(values, data)
    return Raster(np.ascontiguousarray(values), frames > 1)


def _in_units(values: np.ndarray, data: Any) -> np.ndarray:
    """Grey values rescaled, within their window if they have one, and bright where it is bright."""
    inverted = data.PhotometricInterpretation == "MONOCHROME1"
    slope, shift = float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0)
    window = _first(data.get("WindowCenter")), _first(data.get("WindowWidth"))
    rescaled = values if slope == 1 and shift == 0 else values.astype(np.float64) * slope + shift
    if window[0] is None or window[1] is None or window[1] < 1:
        return (
            _turned(values, rescaled, data)
            if inverted
            else rescaled.astype(values.dtype if rescaled is values else np.float32)
        )
    shown = _windowed(rescaled.astype(np.float64), window[0], window[1], data)
    shown = 1 - shown if inverted else shown
    return (shown * 255).round().astype(np.uint8)


def _windowed(values: np.ndarray, centre: float, width: float, data: Any) -> np.ndarray:
    """DICOM PS3.3 C.11.2.1.2: the window as shares of white."""
    function = str(data.get("VOILUTFunction") or "LINEAR").upper()
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT" or width == 1:
        return ((values - centre) / width + 0.5).clip(0, 1)
    return ((values - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)


def _turned(values: np.ndarray, rescaled: np.ndarray, data: Any) -> np.ndarray:
    """MONOCHROME1 without a window: what was least becomes the greatest of the stored range."""
    if rescaled is not values or values.dtype.kind != "u":
        return -rescaled.astype(np.float32)
    return (2 ** int(data.BitsStored) - 1 - values.astype(np.int64)).astype(values.dtype)


def _first(value: Any) -> float | None:
    """The first of several windows."""
    if value is None or value == "":
        return None
    try:
        return float(value)
    except TypeError:
        return float(value[0]) if len(value) else None
