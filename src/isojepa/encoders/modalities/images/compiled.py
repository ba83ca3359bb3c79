"""Views on the CPU by compiled code: render.cpp, built when the package is installed.

Importing this module raises ImportError where there was no compiler then.
"""

import ctypes

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from isojepa.encoders.modalities.images.colour import chroma
from isojepa.encoders.modalities.images.parameters import ViewParameters
from isojepa.kernels.compiled import load_compiled
from isojepa.kernels.threads import parallel

VERSION = 1
"""Of the C interface; a library left behind by an older installation has another."""


def render_normalised(
    images: UInt8[Tensor, "n c s s"],
    parameters: ViewParameters,
    size: int,
    mean: list[float],
    std: list[float],
) -> Float[Tensor, "v n c h w"]:
    """What `render_views` makes of images on the CPU, less the mean and over the deviation."""
    n, channels, side, _ = images.shape
    views = parameters.left.shape[0]
    out = torch.empty(views, n, channels, size, size)
    images, packed = images.contiguous(), _packed(parameters, size, colour=channels == 3)
    shift, scale = (ctypes.c_float * channels)(*mean), (ctypes.c_float * channels)()
    scale[:] = [1 / x for x in std]
    _render(
        images.data_ptr(), n, channels, side, packed.data_ptr(), views, size, shift, scale,
        out.data_ptr(), torch.get_num_threads(), parallel(),
    )  # fmt: skip
    return out


def _packed(parameters: ViewParameters, size: int, *, colour: bool) -> Float[Tensor, "v n 20"]:
    """The parameters of a view in the order of render.cpp's `Parameters`."""
    p = ViewParameters(*(x.float() for x in parameters))
    gain, pull = p.brightness * p.contrast, p.brightness * (1 - p.contrast)
    geometry = [p.left, p.top, p.width, p.height, p.flip, p.angle, p.shear]
    numbers = torch.stack([*geometry, gain, pull, p.sigma * size, p.solarise], -1)
    if colour:
        turn = chroma(p.saturation.flatten(), p.hue.flatten()).unflatten(0, gain.shape)
        colours = (gain[..., None, None] * turn).flatten(2)
    else:
        colours = numbers.new_zeros(*gain.shape, 9)
    return torch.cat([numbers, colours], -1).contiguous()


_P, _L, _I = ctypes.c_void_p, ctypes.c_long, ctypes.c_int
_render = load_compiled("isojepa.encoders.modalities.images._render", VERSION).isojepa_render
_render.argtypes = (_P, _L, _I, _I, _P, _L, _I, _P, _P, _P, _I, _P)
_render.restype = None
