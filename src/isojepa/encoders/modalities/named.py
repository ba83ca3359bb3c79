"""Networks of a modality that are chosen by name, or brought along, and how wide they are."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from isojepa.encoders.config import PretrainConfig
from isojepa.errors import UserError

Models = Mapping[str, Callable[[int], nn.Module]]
"""By name, what builds a network for so many inputs."""


def check_recipe(recipe: str, recipes: Mapping[str, object], kind: str) -> None:
    """Raises UserError for a recipe of views that there is not."""
    if recipe not in recipes:
        raise UserError(f"--recipe {recipe}: for {kind} there are {', '.join(recipes)}")


def check_named(config: PretrainConfig, models: Models, kind: str, *, pretrained: bool) -> None:
    """Raises UserError for a model that there is not; `kind` says of what: series, tables."""
    if config.model is not None:
        _refuse_unknown(config.model, models, kind)
    if pretrained:
        raise UserError(f"--pretrained: there are no published weights for {kind}")


def build_named(name: str, models: Models, kind: str, inputs: int) -> nn.Module:
    """The network of that name.

    Raises:
        UserError: if there is none.
    """
    _refuse_unknown(name, models, kind)
    return models[name](inputs)


def _refuse_unknown(name: str, models: Models, kind: str) -> None:
    if name not in models:
        raise UserError(f"--model {name}: for {kind} there are {', '.join(models)}")


@torch.no_grad()
def width_of(backbone: nn.Module, *shape: int) -> int:
    """Numbers in the embedding of a sample of that shape; the network's mode stays as it was.

    Raises:
        UserError: if it does not return one row a sample.
    """
    training, _ = backbone.training, backbone.eval()
    found = backbone(torch.zeros(2, *shape)).shape
    backbone.train(training)
    if len(found) != 2:
        raise UserError(f"the backbone must return (n, d) embeddings, not {tuple(found)}")
    return found[1]
