"""Detectors of the package pytorch-ood, by the name `pytorch_ood:NAME`.

Its base classes say what a detector takes: logits, features, feature maps, or images that go
through the network. So none of its detectors needs code of its own here.
"""

from __future__ import annotations

import inspect
from functools import partial
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from .common import needs_linear_head
from .contract import Detector, no_objection
from .pytorch_ood_fit import LAST_LAYER, fit_to_images, fit_to_outputs

PREFIX = "pytorch_ood:"
# Their papers fit these to held-out images. The others are fitted to training images.
HELD_OUT = ("KLMatching", "TemperatureScaling")
WHOLE_MAPS = ("RankFeat",)  # other detectors of feature maps take pooled features too
# They scale features or logits, or use the weights of a linear layer.
LINEAR = ("ASH", "SCALE", "LTS", "NNGuide", "DICE", "fDBD", "NCI", "ViM", *LAST_LAYER)


def get_pytorch_ood(name: str) -> Detector:
    """Return the row of `pytorch_ood:NAME`.

    Raises ValueError, in one line, if the package is missing or too old, or for an unknown name.
    """
    package, api = import_package(name)
    kinds = {each: getattr(package, each) for each in package.__all__}
    kinds = {each: kind for each, kind in kinds.items() if inspect.isclass(kind)}
    title = f"pytorch-ood {version('pytorch-ood')}"
    short = name.removeprefix(PREFIX)
    if short not in kinds:
        raise ValueError(f"unknown detector {name!r}: {title} has {', '.join(kinds)}")
    kind = kinds[short]
    on_outputs = partial(fit_to_outputs, kind, held_out=short in HELD_OUT)
    if issubclass(kind, api.LogitsDetector):
        fit = partial(on_outputs, representation="logits")
        # A run may have kept no logits of its training images.
        needs = "features" if kind.requires_fit and short not in HELD_OUT else "logits"
    elif issubclass(kind, api.FeaturesDetector) or short in LAST_LAYER:
        fit, needs = partial(on_outputs, representation="features"), "features"
    elif issubclass(kind, api.FeatureMapsDetector) and short not in WHOLE_MAPS:
        fit, needs = partial(on_outputs, representation="feature_maps"), "features"
    else:
        fit, needs = partial(fit_to_images, kind), "network"
    refuses = needs_linear_head if short in LINEAR else no_objection
    return Detector(f"{short} ({title})", needs, fit, refuses)


def import_package(name: str) -> tuple[ModuleType, ModuleType]:
    """Return the modules of pytorch-ood with its detectors and with their base classes.

    Args:
        name: what needs the package, for the error.

    Raises ValueError, in one line, if the package is missing or too old.
    """
    try:
        package, api = import_module("pytorch_ood.detector"), import_module("pytorch_ood.api")
    except ImportError as error:
        raise ValueError(
            f"{name} needs the package pytorch-ood: pip install 'pytorch-ood>=0.4'"
        ) from error
    if not hasattr(api, "FeatureMapsDetector"):
        raise ValueError(
            f"{name} needs pytorch-ood 0.4 or newer, this is {version('pytorch-ood')}: "
            "pip install --upgrade pytorch-ood"
        )
    return package, api
