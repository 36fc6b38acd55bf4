"""Builds and fits detectors of pytorch-ood.

Their scores are higher for out-of-distribution images, so each is multiplied by -1. What their
constructors take is found by the names of the arguments, which pytorch-ood documents.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from importlib.metadata import version
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from .common import ROWS, features_of, float64, needs_linear_head
from .contract import FitData, Fitted, NotApplicable, SetOutputs, required
from .vim import principal_dimension

# They take gradients of a layer's weights. For the last layer's weights, features are enough.
LAST_LAYER = ("GradNorm", "GradUncertainty")
DICE_P = 0.9  # the share of the last layer's weights that DICE leaves out: its paper's for CIFAR
SEED = 0  # of what a detector draws
Values = Mapping[str, Callable[[], Any]]  # a constructor's argument → what makes its value


def fit_to_outputs(
    kind: Any,
    data: FitData,
    *,
    representation: Literal["logits", "features", "feature_maps"],
    held_out: bool,
) -> Fitted:
    """Fit a detector of logits, features or feature maps. It computes on the CPU, in float32 (many
    take nothing wider), and in float64 for logits.

    Args:
        kind: its class.
        data: for the fit.
        representation: what it takes.
        held_out: whether it is fitted to the calibration split instead of the training images.

    Raises NotApplicable if it takes something that a run does not have, or refuses the data, and
    ValueError for features that are not finite.
    """
    theirs, constants = _build(kind, _values_for_outputs(kind, data, representation))

    def rows_of(images: SetOutputs) -> Tensor:
        if representation == "logits":
            return float64(images.outputs["logits"])
        features = features_of(images).float()
        return features if representation == "features" else features[:, :, None, None]

    suffix = "" if kind.__name__ in LAST_LAYER else f"_{representation}"
    if kind.requires_fit:
        images = required(data.calibration if held_out else data.train, "training images")
        labels = required(images.labels, "labels of the images it is fitted to").cpu()
        with torch.inference_mode(False):
            rows = rows_of(images)
        with _their_way(kind):
            getattr(theirs, f"fit{suffix}")(rows, labels)

    def score(images: SetOutputs) -> Tensor:
        predict = getattr(theirs, f"predict{suffix}")
        with _their_way(kind):
            return -torch.cat(
                [float64(torch.as_tensor(predict(rows))) for rows in rows_of(images).split(ROWS)]
            )

    return Fitted(score, constants)


def _values_for_outputs(kind: Any, data: FitData, representation: str) -> Values:
    """Return what a detector of outputs may take. Each raises NotApplicable if there is no head."""

    def head() -> Any:
        return _linear(required(data.head, "the head"))

    return {
        "model": lambda: head() if kind.__name__ in LAST_LAYER else None,
        "encoder": lambda: None,
        "backbone": lambda: None,
        "head": lambda: (
            nn.Sequential(nn.Flatten(), head()) if representation == "feature_maps" else head()
        ),
        "w": lambda: head().weight.detach(),
        "b": lambda: head().bias.detach(),
        "d": lambda: principal_dimension(head().in_features),
        "p": lambda: DICE_P,
    }


def fit_to_images(kind: Any, data: FitData) -> Fitted:
    """Fit a detector that sends images through the network.

    Args:
        kind: its class.
        data: for the fit.

    Raises NotApplicable if it needs layers or dropout that the network does not have, or something
    else that a run does not have, or refuses the data.
    """
    with torch.inference_mode(False):
        # A copy, since a detector may add hooks to a network or change its mode.
        network: Any = deepcopy(required(data.network, "the network"))
    train = required(data.train, "training images")
    if kind.__name__ == "MCD" and not _has_dropout(network):
        raise NotApplicable("needs a network with dropout")

    def stages() -> list[nn.Sequential]:
        return _stages(network, next(iter(train.batches())))

    theirs, constants = _build(
        kind,
        {
            "model": lambda: stages() if kind.__name__ == "MultiMahalanobis" else network,
            "encoder": lambda: network.forward_features,
            "backbone": lambda: _backbone(stages(), next(iter(train.batches()))),
            "head": lambda: lambda maps: network.classifier(maps.mean((2, 3))),
            "feature_layers": stages,
            "layers": lambda: [stage[-1] for stage in stages()],
            "num_classes": lambda: train.outputs["logits"].shape[1],
            "norm_std": lambda: list(data.std),
        },
    )
    if kind.requires_fit:
        with _their_way(kind):
            theirs.fit(_Loader(train))

    def score(images: SetOutputs) -> Tensor:
        with _their_way(kind):
            return -torch.cat(
                [float64(theirs.predict(inputs.clone())) for inputs in images.batches()]
            )

    return Fitted(score, constants)


def _build(kind: Any, values: Values) -> tuple[Any, dict[str, float | int | str]]:
    """Return a detector with these values, and its constants for the record.

    Arguments that are not in `values` keep their defaults. Raises NotApplicable if one of them has
    no default.
    """
    arguments: dict[str, Any] = {}
    constants: dict[str, float | int | str] = {"package": f"pytorch-ood {version('pytorch-ood')}"}
    for name, parameter in inspect.signature(kind).parameters.items():
        required_here = parameter.default is parameter.empty
        if name in values and (required_here or name == "norm_std"):
            arguments[name] = values[name]()
        elif required_here and parameter.kind is not parameter.VAR_KEYWORD:
            raise NotApplicable(f"needs {name}, which a run does not have")
        value = arguments.get(name, parameter.default)
        if isinstance(value, float | int | str):
            constants[name] = str(value) if isinstance(value, bool) else value
    return kind(**arguments), constants


@contextmanager
def _their_way(kind: Any) -> Iterator[None]:
    """Run their code with gradients, with a seed of its own, and without autocast, which would
    compute their float32 in half precision.

    Their refusals become NotApplicable, so that the other detectors of the same call go on.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda", "mps"):
            stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.random.fork_rng(range(torch.cuda.device_count())))
        torch.manual_seed(SEED)
        try:
            yield
        except (ValueError, AssertionError, torch.linalg.LinAlgError) as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise NotApplicable(f"pytorch-ood's {kind.__name__} refuses: {reason}") from error


def _linear(head: Any) -> Any:
    """Return a copy of a head; of a linear one an `nn.Linear` with a bias."""
    if needs_linear_head(head):
        return deepcopy(head)
    weight = head.weight
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        linear.weight.copy_(weight)
        linear.bias.zero_() if head.bias is None else linear.bias.copy_(head.bias)
    return linear


def _has_dropout(network: nn.Module) -> bool:
    return any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules())


@torch.no_grad()
def _stages(network: Any, inputs: Tensor) -> list[nn.Sequential]:
    """Return the layers of a network's body, as one part for each resolution of its feature maps.

    Raises NotApplicable for a network whose layers are not known.
    """
    if not getattr(network, "has_layers", True):
        raise NotApplicable("needs a network whose layers are known, as those of models/")
    parts: list[list[nn.Module]] = [[]]
    x = inputs[:1]
    for layer in network.body:
        before, x = x.shape[2:], layer(x)
        if parts[0] and x.shape[2:] != before:
            parts.append([])
        parts[-1].append(layer)
    return [nn.Sequential(*part) for part in parts]


@torch.no_grad()
def _backbone(stages: list[nn.Sequential], inputs: Tensor) -> nn.Sequential:
    """Return the whole body. Raises NotApplicable if its feature maps have one pixel only, since
    what RankFeat removes would be all of it.
    """
    body = nn.Sequential(*stages)
    if body(inputs[:1]).shape[2:].numel() == 1:
        raise NotApplicable("needs feature maps of more than one pixel: take larger images")
    return body


class _Loader:
    """A set's batches with their labels, in the form that a data loader yields."""

    def __init__(self, images: SetOutputs):
        self.images = images
        self.size = len(next(iter(images.batches())))

    def __len__(self) -> int:
        return -(-len(required(self.images.labels, "training labels")) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        labels, start = required(self.images.labels, "training labels"), 0
        for inputs in self.images.batches():
            # Clones, since autograd cannot save a tensor that was made in inference mode.
            yield inputs.clone(), labels[start : start + len(inputs)].clone().to(inputs.device)
            start += len(inputs)
