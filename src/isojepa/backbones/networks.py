"""timm's networks by name: found, built for a size, given their weights; or refused in one line.

What timm and its networks raise is theirs to choose (TypeError, AssertionError, RuntimeError, a
hub's own exceptions), so that it is turned into `UserError` here and nowhere else.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import timm
import torch
from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg
from torch import Tensor, nn

from isojepa.backbones import micro  # noqa: F401  registers its networks with timm
from isojepa.backbones.hub import quick_to_fail
from isojepa.boundaries import reaching, reading, reason
from isojepa.errors import UserError

HUB, FOLDER = "hf-hub", "local-dir"  # schemes of names whose settings and weights lie elsewhere
Embed = Callable[[Tensor], Tensor]


class Architecture(NamedTuple):
    """What builds a network without the place that its weights came from."""

    name: str
    """One that timm knows, with the tag of its weights if any."""
    options: dict[str, object]
    """Further arguments of its constructor."""


@contextmanager
def refused(what: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever a network raises into a line for the user; `what` says what it cannot do."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} ({reason(error)}){remedy}") from error


def check_model_name(name: str, setting: str = "--model") -> None:
    """Look a network up without building it.

    Raises:
        UserError: with close names, if timm does not know it or its weights' tag, or the folder of
            a `local-dir:` is missing.
    """
    scheme, _, place = name.partition(":")
    if scheme == HUB and place:
        return
    if scheme == FOLDER and place:
        if not (Path(place) / "config.json").is_file():
            raise UserError(
                f"{setting} {name}: no network saved by timm there ({place}/config.json is missing)"
            )
        return
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(name, timm.list_models(), n=4, cutoff=0.5)
        hint = f"; did you mean {', '.join(close)}?" if close else "; timm.list_models() lists all"
        raise UserError(f"{setting} {name}: timm has no model of that name{hint}")
    tags = [t for t in get_arch_pretrained_cfgs(architecture) if t]
    tags = [t.partition(".")[2] for t in tags]
    if tag and tag not in tags:
        known = f"it has {', '.join(tags[:8])}" if any(tags) else "it has none"
        raise UserError(
            f"{setting} {name}: no weights of {architecture} have the tag {tag}; {known}"
        )


def check_network(name: str, *, pretrained: bool, setting: str = "--model") -> None:
    """Check a name, and have its weights at hand if they are asked for, before any data are read.

    Raises:
        UserError: for an unknown name, a network without published weights, or weights that
            cannot be had.
    """
    check_model_name(name, setting)
    if pretrained:
        check_weights(name, setting)
        with _reaching(name, setting):
            timm.create_model(name, pretrained=True, num_classes=0)
    else:
        architecture_of(name, setting)


def check_weights(name: str, setting: str = "--model") -> None:
    """Raise `UserError` if no weights of one of timm's own names are published."""
    if name.partition(":")[0] in (HUB, FOLDER):
        return
    weights = get_pretrained_cfg(name, allow_unregistered=True)
    if weights is None or not weights.has_weights:
        raise UserError(
            f"{setting} {name}: --pretrained, but no weights of it are published; leave that out, "
            "or choose one of timm.list_models(pretrained=True), such as resnet18"
        )


def architecture_of(name: str, setting: str = "--model") -> Architecture:
    """What a name stands for: itself, or the architecture that a hub or a folder describes.

    Raises:
        UserError: if the description cannot be had or read.
    """
    scheme, _, place = name.partition(":")
    if scheme == HUB and place:
        with _reaching(name, setting):
            _, architecture, options = timm.models.load_model_config_from_hf(place)
        return Architecture(architecture, dict(options or {}))
    if scheme == FOLDER and place:
        file = Path(place) / "config.json"
        with reading(file, "the settings of a timm network"):
            settings = json.loads(file.read_text())
            return Architecture(settings["architecture"], dict(settings.get("model_args") or {}))
    return Architecture(name, {})


def build_network(
    name: str,
    *,
    size: int,
    channels: int = 3,
    pretrained: bool = False,
    resizable: bool = True,
    options: dict[str, object] | None = None,
    setting: str = "--model",
) -> nn.Module:
    """Build timm's network without its classifier, for images of side `size`, in pixels.

    Args:
        name: with `pretrained` also a name that begins with hf-hub: or local-dir:, whose weights
            are then read; without, see `architecture_of`.
        resizable: where the network can, let it read other sizes too, by resampled positions.
        options: passed to the network's constructor.
        setting: what the user called it, for messages.

    Raises:
        UserError: for an unknown name, weights that cannot be had, or a size or number of channels
            that it cannot be built for.
    """
    check_model_name(name, setting)
    if pretrained:
        check_weights(name, setting)
    common = {"num_classes": 0, "in_chans": channels, **(options or {})}
    with refused(f"{setting} {name} cannot be built for {channels} x {size} x {size} images"):
        if not pretrained:
            return _build(name, size, resizable, common)
        with torch.device("meta"):  # so that what fails below can only be the weights
            _build(name, size, resizable, common)
        with _reaching(name, setting):
            return _build(name, size, resizable, {**common, "pretrained": True})


def _build(name: str, size: int, resizable: bool, common: dict[str, Any]) -> nn.Module:
    """Offer the network its size; one that knows no such setting says so by the setting's name."""
    sized: dict[str, object] = {"img_size": size}
    offers = [sized, {}]
    if resizable:
        offers.insert(0, {**sized, "dynamic_img_size": True})
    for offer in offers[:-1]:
        try:
            return timm.create_model(name, **{**common, **offer})
        except TypeError as error:
            if not any(setting in str(error) for setting in offer):
                raise
    return timm.create_model(name, **common)


@contextmanager
def _reaching(name: str, setting: str) -> Iterator[None]:
    remedy = (
        f"without a network, {setting} local-dir:FOLDER takes what timm saved or the hub's page "
        "holds (config.json and weights)"
    )
    if name.startswith(FOLDER):
        remedy = "the folder must hold config.json and weights, as timm or the hub write them"
    with reaching(f"{setting} {name}: its weights", remedy), quick_to_fail():
        yield


@torch.no_grad()
def output_of(network: nn.Module, embed: Embed, channels: int, size: int) -> torch.Size:
    """The shape of what a network gives for one image; raises whatever the network raises."""
    training = network.training
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    network.eval()
    try:
        return embed(torch.zeros(1, channels, size, size, device=device)).shape
    finally:
        network.train(training)
