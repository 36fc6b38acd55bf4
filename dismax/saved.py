"""Writes and reads model.pt, the network of a finished run, and chooses among its scores."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import archive, shipped, versions
from .detectors.saved import UnknownScore
from .losses import get_loss
from .models import Network, build_model, split_name
from .score import DEFAULT, OWN, DeployedScore, check_deployable

MODEL = "model.pt"  # in the folder of a run
# The largest number of pixels of a training image: 8,192 × 8,192.
MAX_PIXELS = 2**26


def save_network(
    path: Path,
    network: nn.Module,
    config: Mapping[str, Any],
    classes: Sequence[str],
    size: Sequence[int],
    mean: Sequence[float],
    std: Sequence[float],
    margin: int,
    scores: Iterable[DeployedScore] = (),
    grey: bool | None = None,
) -> None:
    """Write a calibrated network, and everything that is needed to use it, as model.pt.

    Args:
        path: the file.
        network: the network with its calibrated head.
        config: the run's configuration as JSON. The network is rebuilt from it.
        classes: the names of the classes.
        size: (height, width) of the images.
        mean: of each channel, for pixels in [0, 1].
        std: of each channel, for pixels in [0, 1].
        margin: by how many pixels images are resized larger before they are cropped to `size`.
        scores: scores besides the head's own, which a detector may use.
        grey: whether all training images were grey; None if it is not known.
    """
    content = {
        "config": dict(config),
        "classes": list(classes),
        "size": list(size),
        "mean": list(mean),
        "std": list(std),
        "margin": margin,
        "grey": grey,
        "state_dict": network.state_dict(),
        "scores": _packed(scores),
    }
    archive.save(path, content)


def _packed(scores: Iterable[DeployedScore]) -> dict[str, Any]:
    """Return scores by name, as plain values for a file."""
    return {score.name: score.pack() for score in scores}


def add_scores(path: Path, scores: Iterable[DeployedScore]) -> None:
    """Add scores to a model.pt that `load_network` can read. Each replaces the one of its name.

    The file is the old one or the new one at any moment. Raises OSError if it cannot be written.
    """
    with open(path, "rb") as file:
        content = archive.load(file)
    content["scores"] = content.get("scores", {}) | _packed(scores)
    archive.save(path, content)


def load_network(path: str | Path, scores: bool = True) -> tuple[Network, dict[str, Any]]:
    """Read a model.pt.

    No code in the file is run. The weights take no more memory than the file has bytes.

    Args:
        path: the file.
        scores: whether to read the scores. `detect.py --deploy` replaces them, so it must work if
            they are those of another version.

    Returns:
        the network, on the CPU in evaluation mode, and everything else in the file: the arguments
        of `save_network` by name, with `scores` as a dict from name to DeployedScore.

    Raises ValueError if the file is damaged or no model.pt, or if its weights would give other
    outputs in this version of the code; OSError if it cannot be read.
    """
    if not Path(path).is_file():  # reading a pipe could wait for ever
        raise ValueError(
            f"{path} is no file: name a finished run, its model.pt, or one of "
            f"{', '.join(shipped.names())}"
        )
    content: dict[str, Any] = {}
    with open(path, "rb") as file:
        try:
            content = archive.load(file)
            if "state_dict" not in content:
                raise ValueError(
                    "it lacks state_dict; if these are weights of a network of your own, see "
                    "docs/trained-network.md"
                )
            weights = content.pop("state_dict")
            size = os.fstat(file.fileno()).st_size
            if sum(tensor.nbytes for tensor in _tensors((weights, content))) > size:
                # With a stride of 0, one stored number could make a tensor of any size.
                raise ValueError("its weights are larger than the file")
            changes = versions.other_function(content["config"])
            network = architecture(content["config"], len(content["classes"]))
            _give_weights(network, weights)
            _check(content)
            packed = content.pop("scores", {}) if scores else {}
            changed = [name for name in packed if packed[name]["version"] != versions.of(name)]
            content["scores"] = {
                name: DeployedScore.unpack(name, score, network.classifier)
                for name, score in packed.items()
                if name not in changed
            }
        except UnknownScore as error:
            raise ValueError(f"{path}: {error}") from error
        except Exception as error:  # damaged bytes raise almost anything
            reason, plugins = archive.reason(error), _plugins(content)
            if plugins:
                raise ValueError(
                    f"{path} was made with --plugin {plugins}: name this plugin too ({reason})"
                ) from error
            raise ValueError(
                f"{path} is no run's network, or damaged ({reason}): make the run again"
            ) from error
    if changes:
        raise ValueError(
            f"{path}: its weights would give other outputs now ({'; '.join(changes)}): train this "
            "network again"
        )
    if changed:
        raise ValueError(
            f"{path}: {', '.join(changed)} is computed in another way now: `python detect.py RUN "
            f"--deploy {' '.join(changed)}` fits it again"
        )
    return network, content


def _plugins(content: Mapping[str, Any]) -> str:
    """Return the plugins that a run was made with, as on a command line."""
    config = content.get("config")
    named = config.get("plugin", ()) if isinstance(config, Mapping) else ()
    return " ".join(map(str, named))


def _tensors(content: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested containers."""
    if isinstance(content, Tensor):
        yield content
    elif isinstance(content, Mapping):
        yield from _tensors(list(content.values()))
    elif isinstance(content, list | tuple):
        for value in content:
            yield from _tensors(value)


def architecture(config: Mapping[str, Any], num_classes: int) -> Network:
    """Return the network of a configuration (as JSON) in evaluation mode, without its weights.

    It is on the meta device, so that it takes no memory before the weights are known to fit; only
    a library's network is on the CPU. Raises ValueError for an unknown network or loss.
    """
    loss = get_loss(config["loss"])
    # The networks of libraries have tensors that are computed when they are made and not saved,
    # such as positions.
    is_library = split_name(config["model"]) is not None
    with torch.device("cpu" if is_library else "meta"), torch.random.fork_rng(devices=[]):
        # In training mode, the check of a score would change the statistics of a head's batch norm.
        return loss.wrap(build_model(config["model"], num_classes, loss.head)).eval()


def _give_weights(network: Network, weights: dict[str, Tensor]) -> None:
    """Give a network these weights, in float32.

    Raises ValueError for weights that are not finite, RuntimeError for weights that do not fit the
    network.
    """
    network.load_state_dict(weights, assign=True)
    network.to(torch.float32).to(memory_format=torch.contiguous_format)
    for name, value in network.state_dict().items():
        if not name.endswith("thresholds") and not value.isfinite().all():
            raise ValueError(f"{name} is not finite")


def _check(saved: Mapping[str, Any]) -> None:
    """Raises ValueError if mean, std, classes or size is missing, or if a value is impossible."""
    if missing := {"mean", "std", "classes", "size"} - saved.keys():
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    if len(saved["mean"]) != 3 or len(saved["std"]) != 3:
        raise ValueError("its mean and std are not of 3 channels")
    check_preprocessing(saved["size"], saved.get("margin", 0), saved.get("grey"))


def check_preprocessing(size: Sequence[int], margin: int, grey: bool | None) -> None:
    """Raises ValueError for what cannot describe images; the arguments are those of
    `save_network`.
    """
    if grey not in (None, True, False):
        raise ValueError(f"its flag for grey images is {grey!r:.40}")
    possible = len(size) == 2 and all(
        type(number) is int and number > 0 for number in (*size, margin + 1)
    )
    if not possible or (size[0] + margin) * (size[1] + margin) > MAX_PIXELS:
        raise ValueError(
            f"its images' (height, width) are {size!r:.40} and their margin is {margin!r:.40}"
        )


def choose(
    scores: Mapping[str, DeployedScore], name: str | None, per_class: bool = False
) -> DeployedScore | None:
    """Return the score of this name, or None for "own" with the thresholds of the head.

    By default it is "combined" if it is there, else the head's.

    Raises ValueError for a name that is not there, and for `per_class` if "own" has no thresholds
    for each class.
    """
    if name is None:
        name = DEFAULT if DEFAULT in scores else OWN
    if name == OWN and not per_class:
        return None
    if name not in scores:
        check_deployable(name)
        missing = f"score {name}, only {', '.join(dict.fromkeys((OWN, *scores)))}"
        if name == OWN:
            missing = "thresholds of its own score for each class"
        raise ValueError(
            f"it has no {missing}: `python detect.py RUN --deploy {name}` adds it to a run"
        )
    return scores[name]
