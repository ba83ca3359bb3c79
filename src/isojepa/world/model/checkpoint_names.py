"""The weights of a LeWM within whatever was saved around them.

Trainers save more than a model and wrap it on the way: Lightning nests it in `state_dict` below
`model.`, DDP, FSDP and `torch.compile` put `module`, `_fsdp_wrapped_module` or `_orig_mod` into
names, and beside it lie the objective's buffers, an optimiser's state, a moving average.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from isojepa.errors import UserError

Nested = Mapping[Any, Any]  # names or numbers to tensors, mappings and whatever else was saved
log = logging.getLogger(__name__)
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
ANCHOR = "predictor.pos_embedding"  # whatever stands before it stands before all names
PARTS = ("encoder.", "projector.", "predictor.", "pred_proj.", "action_encoder.")
UNUSED = ("encoder.pooler.", "encoder.embeddings.mask_token")  # of Hugging Face's ViT
SHOWN = 3  # names in a message


def weights_within(state: Nested, prefix: str | None = None) -> dict[str, Tensor]:
    """The tensors of one LeWM by the platform's names, out of a checkpoint.

    Args:
        state: nested dictionaries, as loaded.
        prefix: what stands before the model's names, levels of nesting joined by dots; by default
            found, where there is but one LeWM.

    Raises:
        UserError: if there is none, or several and no prefix; named by their prefixes.
    """
    if not isinstance(state, Mapping):
        raise UserError(f"weights: expected a state dict, not a {type(state).__name__}")
    tensors = {_unwrapped(name): x for name, x in _flat(state)}
    prefixes = sorted(
        name.removesuffix(ANCHOR)
        for name in tensors
        if name == ANCHOR or name.endswith("." + ANCHOR)
    )
    if prefix is not None:
        prefixes = [p for p in prefixes if p.removesuffix(".") == _unwrapped(prefix + ".")[:-1]]
    if len(prefixes) > 1:
        found = ", ".join(repr(p.removesuffix(".")) for p in prefixes)
        raise UserError(f"weights: several LeWM are in there; choose one by prefix: {found}")
    if not prefixes:
        raise UserError(f"not the weights of a LeWM: {ANCHOR} is missing; {_what(tensors)}")
    start = prefixes[0]
    inside = {name.removeprefix(start): x for name, x in tensors.items() if name.startswith(start)}
    wanted = {
        name: x
        for name, x in inside.items()
        if name.startswith(PARTS) and not name.startswith(UNUSED)
    }
    left = len(tensors) - len(wanted)
    if left:
        others = [name for name in tensors if name.removeprefix(start) not in wanted]
        where = f" below {start.removesuffix('.')!r}" if start else ""
        log.info("weights of a LeWM%s; left out: %d others (%s)", where, left, _few(others))
    return wanted


def _flat(state: Nested, before: str = "") -> Iterator[tuple[str, Tensor]]:
    for name, value in state.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif isinstance(value, Tensor):
            yield f"{before}{name}", value


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _what(tensors: Mapping[str, Tensor]) -> str:
    if not tensors:
        return "no tensors are in there"
    starts = {name.split(".")[0] for name in tensors}
    prefix = f", all below {starts.pop()!r}" if len(starts) == 1 else ""
    return f"there are {_few(list(tensors))}{prefix}"


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
