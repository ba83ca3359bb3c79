"""Which values of numbers become black and white, channel by channel, from a sample of images."""

from functools import partial

import numpy as np

from isojepa.boundaries import shown
from isojepa.encoders.modalities.images.files import each
from isojepa.encoders.sources.folder import Listing
from isojepa.errors import UserError
from isojepa.pixels.decoding import read_numbers
from isojepa.pixels.rasters import Ranges, as_channels
from isojepa.pixels.unreadable import Unreadable

IMAGES, PIXELS = 256, 4096  # of a sample: images, and pixels of each
TAILS = (0.1, 99.9)  # per cent of the values of a channel that its range leaves out


def sampled_ranges(listing: Listing, channels: int) -> tuple[Ranges, str]:
    """Of each channel the values between which all but 0.1 % at either end lie; and a line on it.

    One range for all images, so that equal values have equal bytes whatever surrounds them.

    Raises:
        UserError: if a channel has no number in any of the images.
    """
    chosen = np.unique(np.linspace(0, len(listing.names) - 1, IMAGES).astype(int)).tolist()
    read = partial(_pixels, listing, channels)
    found = [x for x in each(read, chosen) if not isinstance(x, Unreadable)]
    holes = sum(not np.isfinite(x).all() for x in found)
    values = np.concatenate(found) if found else np.empty((0, channels))
    ranges = []
    for channel, column in enumerate(values.T):
        finite = column[np.isfinite(column)]
        if not len(finite):
            raise UserError(
                f"--data {shown(listing.root)}: channel {channel + 1} of {channels} holds no "
                f"number in {len(found)} images"
            )
        low, high = np.percentile(finite, TAILS).tolist()
        ranges.append((low, high if high > low else low + 1.0))
    words = ", ".join(f"{low:.4g} to {high:.4g}" for low, high in ranges)
    of = f"{channels} channels" if channels > 1 else "one channel"
    note = f"numbers of {of}: black to white is {words}; what lies beyond is cut"
    if holes:
        note += f"; {holes} of {len(found)} images that were looked at lack values: black"
    return tuple(ranges), note


def _pixels(listing: Listing, channels: int, i: int) -> np.ndarray:
    """Some pixels of an image, evenly spread; raises `Unreadable`."""
    values, _ = as_channels(read_numbers(listing.item(i), channels), channels)
    flat = values.reshape(-1, channels)
    return flat[:: max(1, len(flat) // PIXELS)].astype(np.float64)
