"""View sizes that a network reads: those that follow from the data are rounded, others refused.

Networks are asked, not guessed at: each is built without weights (on torch's meta device, where
only shapes are computed) and shown images of the sizes in question.
"""

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache

import torch
from timm.models import get_pretrained_cfg
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from isojepa.backbones.networks import architecture_of
from isojepa.boundaries import reason
from isojepa.encoders.modalities.images.encoder import Encoder, EncoderSpec, Stem
from isojepa.errors import UserError

log = logging.getLogger(__name__)
STEPS = (14, 16, 28, 32, 64)  # patches, windows and strides: sizes are multiples of one of them
CHEAP = 0.65  # most of a global view's operations that a local view of chosen size takes
USUAL = (224, 256, 240, 288, 384)  # what networks of one fixed size were made for


class Reader:
    """Which sizes of images a network reads.

    Args:
        model: a timm model name.
        channels: 1 or 3.
        backbone: a module to use in place of timm's.
        pretrained: whether it will start from published weights, and so keep its own stem.
    """

    def __init__(
        self,
        model: str,
        channels: int,
        *,
        backbone: nn.Module | None = None,
        pretrained: bool = False,
    ) -> None:
        self.model, self.channels, self._backbone = model, channels, backbone
        self._stem: Stem = "own" if pretrained else "auto"
        self._built = lru_cache(4)(self._build)

    def image_size(self, wanted: int, *, asked: bool) -> int:
        """The side of global views, in pixels: the wanted one, or the nearest that can be read.

        Args:
            asked: the user gave this size: it is taken or refused, never changed.

        Raises:
            UserError: if the network cannot read the size asked for, or none at all.
        """
        why = self.refusal(wanted, wanted)
        if why is None:
            return wanted
        nearest = self._nearest(wanted, self._candidates(wanted), lambda size: (size, size))
        if nearest and not asked:
            return min(nearest, key=lambda size: (abs(size - wanted), size))
        hint = f"; the nearest that it reads: {_either(nearest)}" if nearest else ""
        raise UserError(
            f"--image-size {wanted}: {self.model} cannot read {self.channels} x {wanted} x "
            f"{wanted} images: {why}{hint}"
        )

    def local_size(self, size: int, wanted: int, *, asked: bool) -> int | None:
        """The side of local views for a network built for `size`: wanted, or the nearest readable.

        Args:
            asked: see `image_size`.

        Returns:
            None where it reads no size at about half of the work or less: local views, which are
            many because they are cheap, would cost about as much as global ones.

        Raises:
            UserError: if the network cannot read the size asked for.
        """
        why = self.refusal(size, wanted)
        if why is None and (asked or self._is_cheap(size, wanted)):
            return wanted
        smaller = [side for side in self._candidates(wanted) if 2 * side**2 <= size**2]
        if not asked:
            smaller = [s for s in smaller if self.refusal(size, s) is None]
            return next((s for s in smaller if self._is_cheap(size, s)), None)
        nearest = self._nearest(wanted, smaller, lambda side: (size, side))
        hint = f"the nearest that it reads: {_either(nearest)}" if nearest else "no smaller size"
        raise UserError(
            f"--local-size {wanted}: {self.model}, built for {size} px, cannot read it: {why}; "
            f"{hint}"
        )

    def refusal(self, built: int, size: int) -> str | None:
        """Why the network, built for one size, cannot read another; None if it can."""
        try:
            encoder = self._built(built)
        except UserError as error:
            return reason(error.__cause__ or error)
        patch = _patch(encoder.backbone)
        if size % patch:  # a strided convolution would leave out the last pixels without a word
            return f"its patches are {patch} px wide"
        return encoder.refusal(size)

    def _is_cheap(self, size: int, side: int) -> bool:
        """Whether views of `side` cost much less than those of `size`.

        Counted, since a network can read small images and yet work as much: positions of the built
        size, added to a single patch, make as many patches of it again.
        """
        encoder = self._built(size)
        few, many = _operations(encoder, side), _operations(encoder, size)
        return few is None or many is None or few < CHEAP * many

    def _build(self, size: int) -> Encoder:
        flat = [0.5] * self.channels
        spec = EncoderSpec(
            model=self.model if self._backbone is None else "custom",
            image_size=size,
            channels=self.channels,
            mean=flat,
            std=flat,
            side=size,
            stem=self._stem,
        )
        if self._backbone is not None:
            return Encoder(spec, self._backbone)
        try:
            with torch.device("meta"):
                return Encoder(spec).requires_grad_(False)
        except UserError as error:
            if "meta" not in str(error):
                raise
        return Encoder(spec).requires_grad_(
            False
        )  # it looks at its weights' values as it is built or used

    def _nearest(
        self, wanted: int, sizes: list[int], pair: Callable[[int], tuple[int, int]]
    ) -> list[int]:
        """The first below and the first above the wanted size that are read, of those there are."""
        less = (s for s in sizes if s < wanted and self.refusal(*pair(s)) is None)
        more = (s for s in sizes if s > wanted and self.refusal(*pair(s)) is None)
        return [s for s in (next(less, None), next(more, None)) if s is not None]

    def _candidates(self, wanted: int) -> list[int]:
        """Sizes to try, nearest first."""
        architecture = architecture_of(self.model).name
        weights = get_pretrained_cfg(architecture, allow_unregistered=True)
        own = USUAL[0] if weights is None else weights.input_size[-1]
        sizes = {own, *USUAL}
        for step in {*STEPS, *self._steps(own)}:
            sizes |= set(_multiples(step, wanted))
        return sorted(sizes - {0, wanted}, key=lambda s: (abs(s - wanted), s))

    def _steps(self, own: int) -> Iterator[int]:
        try:
            yield max(8, _patch(self._built(own).backbone))
        except UserError:
            return


@lru_cache(8)
def reader(model: str, channels: int, *, pretrained: bool = False) -> Reader:
    """The reader of timm's network, kept: the same is asked for more than once."""
    return Reader(model, channels, pretrained=pretrained)


def _multiples(step: int, wanted: int) -> range:
    below = wanted // step * step
    return range(max(step, below - 2 * step), below + 3 * step + 1, step)


def _patch(backbone: nn.Module) -> int:
    """Side of the separate patches that a transformer cuts images into; 1 for other networks."""
    cut = getattr(getattr(backbone, "patch_embed", None), "proj", None)
    if not isinstance(cut, nn.Conv2d) or cut.kernel_size != cut.stride:
        return 1
    return max(cut.stride)


def _operations(encoder: Encoder, size: int) -> int | None:
    """Multiplications for an image of this side; None if they cannot be counted."""
    with FlopCounterMode(display=False) as counter:
        refusal = encoder.refusal(size)
    return counter.get_total_flops() if refusal is None else None


def _either(sizes: list[int]) -> str:
    return " and ".join(map(str, sizes))
