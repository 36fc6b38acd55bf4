"""Networks of timm and torchvision: their bodies, which give features, with a head of ours."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

from .network import Head, Network

LIBRARIES = ("timm", "torchvision")
# torchvision's weights were all trained with these.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# With these two, torchvision itself turns pixels normalised like that into pixels in [-1, 1].
INCEPTIONS = ("googlenet", "inception_v3")


class LibraryNetwork(Network):
    """A network whose body returns pooled features.

    Args:
        body: turns images [B, 3, H, W] into features [B, num_features].
        num_features: D.
        num_classes: number of classes of the head.
        head: makes the head.
    """

    has_layers = False

    def forward_features(self, images: Tensor) -> Tensor:
        """Return features [B, D]."""
        return self.body(images)


def split_name(name: str) -> tuple[str, str] | None:
    """Return (library, network) of `library/network`; None for a name without a library.

    Raises ValueError, with near names, if the library is not installed or has no such network.
    """
    library, slash, network = name.partition("/")
    if not slash:
        return None
    if library not in LIBRARIES:
        raise ValueError(f"no network {name}: the libraries are {' and '.join(LIBRARIES)}")
    known = _names(library)
    # timm's names may have the name of a set of weights after a point.
    if network.partition(".")[0] not in known:
        near = difflib.get_close_matches(network, known, n=5, cutoff=0.5)
        advice = f"did you mean {', '.join(near)}?" if near else f"it has {len(known)} networks"
        raise ValueError(f"no network {name}: {library} has no classifier {network!r}: {advice}")
    return library, network


def _import(library: str) -> ModuleType:
    """Return the module of a library. Raises ValueError if it is not installed."""
    try:
        if library == "timm":
            import timm as module
        else:
            from torchvision import models as module
    except ImportError as error:
        raise ValueError(
            f"a network of {library} needs the package {library}: pip install {library}"
        ) from error
    return module


def _names(library: str) -> list[str]:
    """Return the names of a library's classifiers."""
    module = _import(library)
    return module.list_models() if library == "timm" else module.list_models(module=module)


def build_library_network(
    library: str, network: str, num_classes: int, head: Head
) -> LibraryNetwork:
    """Return a network of a library, with new weights and a head of ours.

    Raises ValueError if its classifier is not a linear layer at its end.
    """
    body, num_features = _body(library, network, pretrained=False)
    return LibraryNetwork(body, num_features, num_classes, head)


def pretrained_weights(library: str, network: str) -> dict[str, Tensor]:
    """Return the weights of a body, which the library downloads or has on this machine.

    Raises ValueError if the library has none, or cannot get them.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return _body(library, network, pretrained=True)[0].state_dict()
    except Exception as error:  # each library, and what it downloads with, has errors of its own
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:100]
        raise ValueError(
            f"{library} cannot give pretrained weights for {network} ({reason}): connect to the "
            "internet, or download them and use the file"
        ) from error


def normalization(library: str, network: str) -> tuple[Sequence[float], Sequence[float]]:
    """Return (mean, std) of the pixels that a library's weights were trained with."""
    if library == "timm":
        settings = _import(library).get_pretrained_cfg(network)
        if settings is not None:
            return tuple(settings.mean), tuple(settings.std)
    if library == "torchvision" and network in INCEPTIONS:
        return (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    return IMAGENET_MEAN, IMAGENET_STD


def _body(library: str, network: str, pretrained: bool) -> tuple[nn.Module, int]:
    """Return a network without its classifier, and its number of features."""
    module = _import(library)
    if library == "timm":
        body = module.create_model(network, pretrained=pretrained, num_classes=0)
        return body, getattr(body, "head_hidden_size", body.num_features)
    # Without these, the two networks return the logits of auxiliary classifiers too.
    options = {"aux_logits": False} if network in INCEPTIONS else {}
    if pretrained:
        options = {}  # the weights have auxiliary classifiers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they announce other defaults
        body = module.get_model(network, weights="DEFAULT" if pretrained else None, **options)
    path, layer = [
        (path, layer)
        for path, layer in body.named_modules()
        if next(layer.parameters(recurse=False), None) is not None
    ][-1]
    if not isinstance(layer, nn.Linear):
        raise ValueError(
            f"torchvision/{network} ends in a {type(layer).__name__}, not in a linear "
            "layer: choose another network"
        )
    body.set_submodule(path, nn.Identity())
    return body, layer.in_features
