"""Images' reading: the files of a folder, and how one encoder sees them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from isojepa.backbones.networks import check_network
from isojepa.encoders.modalities.images import symmetries
from isojepa.encoders.modalities.images.choices import ImageChoices, choose_sizes, local_size_before
from isojepa.encoders.modalities.images.encoder import EncoderSpec
from isojepa.encoders.modalities.images.images import Headers, ImageSet, read_headers, read_images
from isojepa.encoders.modalities.images.memory import image_set
from isojepa.encoders.modalities.images.parameters import centre_parameters
from isojepa.encoders.modalities.images.preview import as_colours
from isojepa.encoders.modalities.images.ranges import sampled_ranges
from isojepa.encoders.modalities.images.rendering import render_views
from isojepa.encoders.modalities.images.symmetries import Symmetries
from isojepa.encoders.modalities.modality import Columns, Given, Place, Reading, Source, Words
from isojepa.encoders.sources.fingerprints import with_fingerprints
from isojepa.encoders.sources.inputs import list_images, words
from isojepa.encoders.sources.notes import warn_once
from isojepa.encoders.sources.stacks import with_pages
from isojepa.errors import UserError
from isojepa.pixels.rasters import Ranges
from isojepa.progress import Track, untracked
from isojepa.runs.record import CONFIG
from isojepa.runs.typed import from_json

THUMBNAIL = 48
BASELINE = 32  # side of the images whose pixels are a baseline


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """How images are read for one encoder."""

    side: int
    """Of the squares to which they are resized, in pixels."""
    channels: int
    bits: int | None = 16
    """Depth that is scaled to 8; None for the fewest that hold all values."""
    ranges: Ranges | None = None
    """Of each channel, what becomes black and white, where the images are numbers."""


class ImageReading(Reading):
    """Images below folders."""

    WORDS = Words("image", "images", "img", "pixels")

    def recognises(self, path: Path, _columns: Columns) -> bool:
        """Any folder: it is asked for last, and images are what is left over."""
        return path.is_dir()

    def find(self, place: Place, track: Track) -> Source:
        """The images below a folder, with the fingerprints of their files."""
        listing = list_images(place.data, place.labels, place.leave_out)
        if place.pages == "each":
            listing = with_pages(listing, track)
        for note in listing.notes:
            warn_once(listing.root, note)
        return Source(with_fingerprints(listing, track))

    def choose(self, given: Given) -> tuple[ImageChoices, ImageForm]:
        """Settle sizes, network and views from the files' headers.

        Squares are a quarter larger than the views; a run that is gone on with has its own.
        """
        config, source, stored, gpu, backbone, tell = given
        headers = _headers(source, config.channels)
        if headers.mixed is not None and config.channels is None:
            raise UserError(
                f"--data {words(config.data)}: {headers.mixed}; put them into folders of their "
                "own, or give --channels (3 takes the first three of each and repeats grey)"
            )
        if stored is not None and "local_size" not in stored.config:
            config = replace(config, local_size=local_size_before(config))
        channels, ranges = config.channels or headers.channels, None
        if stored is None and headers.ranged:
            ranges, note = sampled_ranges(source.listing, channels)
            tell(note)
        settled = (config.mirror, config.colours, config.polarity)
        asked = stored is not None or config.recipe or all(settled)
        small = ImageForm(side=symmetries.SIDE, channels=channels, bits=None, ranges=ranges)
        found = None if asked else ask_images(source, small)
        choices = choose_sizes(config, headers, gpu=gpu, found=found, backbone=backbone, tell=tell)
        if found is not None:
            tell(found.in_words())
        if backbone is None and config.pretrained and config.model is None:
            check_network(choices.model, pretrained=True)
        if stored is not None:
            form = from_json(ImageForm, stored.data, config.out / CONFIG)
            return choices, replace(form, channels=choices.channels)
        side = min(round(1.25 * choices.image_size), max(8, headers.short_side))
        return choices, ImageForm(side=side, channels=choices.channels, bits=None, ranges=ranges)

    def form_of(self, spec: EncoderSpec) -> ImageForm:
        """How a trained encoder's images are read."""
        return ImageForm(side=spec.side, channels=spec.channels, bits=spec.bits, ranges=spec.ranges)

    def read(self, source: Source, form: ImageForm, track: Track) -> ImageSet:
        """Decode the files."""
        if source.contents is not None:
            return image_set(source.contents, source.listing, form.side, form.channels)
        return read_images(
            source.listing,
            side=form.side,
            channels=form.channels,
            bits=form.bits,
            ranges=form.ranges,
            track=track,
        )

    def recorded(self, data: ImageSet) -> dict[str, Any]:
        """The form, with the depth that was found."""
        form = {"side": data.side, "channels": data.channels, "bits": data.bits}
        return form if data.ranges is None else form | {"ranges": [list(x) for x in data.ranges]}

    def raw(self, data: ImageSet, indices: np.ndarray) -> Float[np.ndarray, "n d"]:
        """Pixels in [0, 1] of the central squares, at 32 x 32 at most."""
        return flat_pixels(_squares(data, torch.from_numpy(indices), min(BASELINE, data.side), 512))

    def pictures(self, data: ImageSet, indices: Tensor) -> UInt8[np.ndarray, "n h w c"]:
        """The central square of each image in grey or colours, at most 48 pixels a side."""
        return as_colours(_squares(data, indices, min(THUMBNAIL, data.side), 256))


def _headers(source: Source, channels: int | None) -> Headers:
    if source.contents is None:
        return read_headers(source.listing, channels)
    _, height, width, channels = source.contents.shape
    return Headers(min(height, width), 1 if channels == 1 else 3)


def ask_images(source: Source, form: ImageForm) -> Symmetries:
    """What an even sample of the images to train on says of augmentations; a second or two."""
    listing = source.listing
    n = len(listing.names)
    trained_on = np.ones(n, bool) if listing.test is None else ~listing.test
    places = np.flatnonzero(trained_on if trained_on.any() else ~trained_on)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, symmetries.SAMPLE).astype(int))]
    held = None if source.contents is None else source.contents[torch.from_numpy(chosen)]
    few = Source(listing.subset(chosen.tolist()), held)
    sample = READING.read(few, form, untracked)
    return symmetries.symmetries(sample.read(range(len(sample))).pixels)


def _squares(
    data: ImageSet, indices: Tensor, size: int, at_a_time: int
) -> UInt8[np.ndarray, "n h w c"]:
    parts = []
    for part in indices.split(at_a_time):
        squares, aspects = data.read(part)
        views = render_views(squares, centre_parameters(aspects), size)[0]
        parts.append((views * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    return np.concatenate(parts)


def flat_pixels(
    images: UInt8[np.ndarray, "n h w c"], side: int = BASELINE
) -> Float[np.ndarray, "n d"]:
    """Flattened pixels in [0, 1], of images shrunk to at most side x side by area averaging."""
    height, width = images.shape[1:3]
    blocks = []
    for start in range(0, len(images), 256):
        x = torch.from_numpy(images[start : start + 256]).permute(0, 3, 1, 2).float() / 255
        small = adaptive_avg_pool2d(x, (min(height, side), min(width, side)))
        blocks.append(small.flatten(1).numpy())
    return np.concatenate(blocks)


READING = ImageReading()
