"""Weights that training starts from: read from a file, or given by a library."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dismax import archive, shipped
from models import Network, by_order, pretrained_weights, split_name

from .config import PRETRAINED, RunConfig

# Names under which files keep the weights beside other things.
INSIDE = ("state_dict", "model_state_dict", "model")
# What wrappers and this repository put before the name of an entry.
PREFIXES = ("module.", "_orig_mod.", "body.")
MAX_NAMES = 4  # entries named in a message
HEAD = 2  # tensors of a linear layer


def start_from_weights(config: RunConfig, network: Network) -> str:
    """Load the weights that a configuration names into a network's body. The head stays new.

    Returns:
        one line that says which weights were loaded, and which entries were not used.

    Raises ValueError, in one line, if there are no such weights, or if they are of another network.
    """
    if config.weights == PRETRAINED:
        parts = split_name(config.model)
        if parts is None:
            raise ValueError(
                f"--weights pretrained is for timm/NAME and torchvision/NAME, not for "
                f"{config.model}: name a file"
            )
        weights: Mapping[str, Tensor] = pretrained_weights(*parts)
        source = f"{parts[0]}'s pretrained weights"
    else:
        path = Path(str(config.weights))
        weights, source = read_weights(path), str(path)
    return load_into_body(network, weights, source, config.model)


def load_into_body(network: Network, weights: Mapping[str, Tensor], source: str, model: str) -> str:
    """Load weights into the body: as `start_from_weights`, for weights of any source."""
    own = network.body.state_dict()
    # Batch norms of old files have no such counter.
    optional = {name for name in own if name.endswith("num_batches_tracked")}
    available = _by_our_names(own, weights)
    in_order = not own.keys() & available.keys()
    if in_order:
        available = _by_order(own, weights, source, model)
    fitting = {
        name: available[name][1]
        for name, tensor in own.items()
        if name in available and available[name][1].shape == tensor.shape
    }
    if missing := own.keys() - fitting.keys() - optional:
        reasons = [
            f"{name} is {list(available[name][1].shape)} there, {list(own[name].shape)} here"
            if name in available
            else f"{name} is not there"
            for name in own
            if name in missing
        ]
        raise ValueError(
            f"--weights {source}: {len(missing)} of {len(own)} tensors of {model} are missing or "
            f"have another shape ({'; '.join(reasons[:MAX_NAMES])}"
            f"{'; ...' if len(reasons) > MAX_NAMES else ''}): these are weights of another network"
        )
    for name, tensor in fitting.items():
        if not tensor.isfinite().all():
            raise ValueError(f"--weights {source}: {name} is not finite")
        if name not in optional and not tensor.is_floating_point():
            raise ValueError(f"--weights {source}: {name} is {tensor.dtype}, and not of floats")
        if name.endswith("running_var") and (tensor < 0).any():
            raise ValueError(f"--weights {source}: {name} has variances below 0")
    network.body.load_state_dict(fitting, strict=False)
    used = {available[name][0] for name in fitting}
    unused = {name for name, _ in available.values()} - used
    line = f"weights: all {len(fitting)} tensors of the body come from {source}; the head is new"
    if in_order:
        line += "; the names there are others, so they were taken in their order"
    if unused:
        names = ", ".join(sorted(unused)[:MAX_NAMES])
        line += f"; not used: {names}{', ...' if len(unused) > MAX_NAMES else ''}"
    return line


def _by_our_names(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor]
) -> dict[str, tuple[str, Tensor]]:
    """Return the weights of a file by names without prefixes, each with its name there."""
    available = {_plain(name): (name, tensor) for name, tensor in weights.items()}
    for name in own:  # some networks have a part whose own name is like a prefix
        if name in weights:
            available[name] = name, weights[name]
        elif _plain(name) in available:
            available[name] = available[_plain(name)]
    return available


def _by_order(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], source: str, model: str
) -> dict[str, tuple[str, Tensor]]:
    """Return all weights of a file whose names are all others, those of the body by our names.

    Raises ValueError if their order does not fit.
    """
    try:
        ours = {theirs: name for name, theirs in by_order(own, weights).items()}
        if len(weights) - len(ours) > HEAD:
            raise ValueError(f"it has {len(weights) - len(ours)} more tensors, a head has {HEAD}")
    except ValueError as error:
        raise ValueError(
            f"--weights {source}: no name is one of {model}, and their order does not fit "
            f"({error}): these are weights of another network"
        ) from error
    return {ours.get(name, name): (name, tensor) for name, tensor in weights.items()}


def fingerprint(body: nn.Module) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of a body's weights, whatever file has them."""
    digest = hashlib.sha256()
    for name, value in body.state_dict().items():
        digest.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        digest.update(value.contiguous().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(name: str) -> str:
    """Return an entry's name without prefixes of wrappers."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or of a state dict that torch wrote.

    No code in the file is run. A run's model.pt is such a file too, and so is the network that the
    package brings along: "cifar10".

    Raises ValueError, in one line, if the file is missing, damaged or holds no weights.
    """
    path = shipped.resolve(path)
    if not path.is_file():
        raise ValueError(
            f"--weights {path} is no file: name one, or write {PRETRAINED} or "
            f"{', '.join(shipped.names())}"
        )
    try:
        content = _read(path)
    except ImportError as error:
        raise ValueError(f"--weights {path} needs safetensors: pip install safetensors") from error
    except Exception as error:  # damaged bytes raise almost anything
        raise ValueError(
            f"--weights {path} is damaged, or holds no weights ({archive.reason(error)}): give a "
            "safetensors file or a state dict"
        ) from error
    for name in INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
            break
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise ValueError(f"--weights {path} holds no tensors by name: give a state dict")
    return tensors


def _read(path: Path) -> Any:
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of damaged bytes before it raises an error
        return torch.load(path, map_location="cpu", weights_only=True)
