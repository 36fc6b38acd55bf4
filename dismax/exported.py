"""Reads the safetensors file of a detector, which `export.to_safetensors` wrote."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn

from . import versions
from .body import find_head, plain_copy
from .checks import FLOATS
from .detectors.saved import fill
from .losses import LossFirstPart
from .saved import architecture, check_preprocessing
from .score import DeployedScore

SUFFIX = ".safetensors"
FORMAT = "dismax-detector-1"
NAMES = ("format", "score", "head")  # metadata that is a name; the rest is JSON


def load_exported(
    path: str | Path, network: nn.Module | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Read a detector's safetensors file.

    No code in the file is run. The tensors take no more memory than the file has bytes. Needs the
    package safetensors.

    Args:
        path: the file.
        network: a network that is built as the exported one was. It is copied. By default it is
            built from a run's configuration, which the file of a run's detector has.

    Returns:
        a network in which only the head has its weights, and everything else by the names that
        `saved.load_network` gives it, with "tpr", "per_class", "chosen" (the score that decides, or
        None for the head's) and "tensors" (for `restore`) besides.

    Raises ValueError if the file is damaged or another kind of file, or if it does not fit the
    network; OSError if it cannot be read.
    """
    if not Path(path).is_file():  # reading a pipe could wait for ever
        raise ValueError(f"{path} is no file: name one that dismax.export.to_safetensors wrote")
    try:
        saved, tensors = _read(path)
        if network is None:
            network = _architecture(saved)
            head = network.classifier
        else:
            network = plain_copy(network).cpu()
            head = find_head(network)
        _give_weights(head, saved["head"], tensors)
        chosen = _score(saved, tensors, head)
    except OSError:
        raise
    except Exception as error:  # damaged bytes raise almost anything
        raise ValueError(f"{path} cannot be used: {_reason(error)}") from error
    scores = {chosen.name: chosen} if chosen else {}
    return network, saved | {"scores": scores, "chosen": chosen, "tensors": tensors}


def _reason(error: Exception) -> str:
    """Return an error's message in one line."""
    text = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else str(error)
    # These are written here to be read; others need their type.
    known = isinstance(error, KeyError | ValueError) and not isinstance(error, UnicodeError)
    return " ".join((text if known else f"{type(error).__name__}: {text}").split())[:300]


def _read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's metadata, and its tensors by name.

    Raises ValueError for a file that `to_safetensors` did not write, and for impossible values;
    KeyError for one that is missing.
    """
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"it is no detector that dismax.export.to_safetensors wrote (its format is "
                f"{metadata.get('format')!r:.40}, not {FORMAT!r})"
            )
        # Copies, since the file's numbers lie at any address, and sums depend on the alignment.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    saved = {
        name: text if name in NAMES else json.loads(text, parse_constant=_refuse)
        for name, text in metadata.items()
    }
    if saved["size"] is not None:
        check_preprocessing(saved["size"], saved["margin"], saved["grey"])
    if type(saved["tpr"]) is not float:
        raise ValueError(f"its tpr is {saved['tpr']!r:.40}")
    for name, value in tensors.items():
        # Some thresholds may not be set, and a network may mask with infinity.
        if not name.endswith("thresholds") and value.isnan().any():
            raise ValueError(f"{name} is NaN")
    saved |= {name: tensors[name].flatten().tolist() for name in ("mean", "std")}
    per_class = tensors["least"].ndim == 1
    return saved | {"classes": saved["class_names"], "per_class": per_class}, tensors


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"its metadata has the number {constant}")


def _architecture(saved: Mapping[str, Any]) -> nn.Module:
    """Return the network of the run whose detector this is, without weights.

    Raises ValueError if it is no run's, or if this version would compute other outputs.
    """
    if saved["config"] is None:
        raise ValueError(
            "it has the weights of your own network, not how it is built: give that network, as "
            "Detector.load(path, network=...)"
        )
    if changes := versions.other_function(saved["config"]):
        raise ValueError(f"its weights would give other outputs now ({'; '.join(changes)})")
    return architecture(saved["config"], len(saved["classes"]))


def _give_weights(head: LossFirstPart, kind: str, tensors: Mapping[str, Tensor]) -> None:
    """Give a head its tensors. Raises ValueError for a head of another kind, or another shape."""
    if type(head).__name__ != kind:
        raise ValueError(f"its head is {kind:.40}, that of the network is {type(head).__name__}")
    own = {f"head.{name}": value for name, value in head.state_dict().items()}
    _check_fit(own, {name: value for name, value in tensors.items() if name.startswith("head.")})
    weights = {name.removeprefix("head."): tensors[name] for name in own}
    head.load_state_dict(weights, assign=True)


def _score(
    saved: Mapping[str, Any], tensors: Mapping[str, Tensor], head: LossFirstPart
) -> DeployedScore | None:
    """Return the score that decides, or None if it is the head's."""
    if "fitted_score" not in saved:
        return None
    content = fill(saved["fitted_score"], tensors, "score.")
    # A score is read in float32. A head in float64 would not fit it.
    return DeployedScore.unpack(saved["score"], content, copy.deepcopy(head).float())


def restore(detector: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give a detector the tensors of its file, each in the precision that it has there.

    Raises ValueError if they are those of another network.
    """
    own = detector.state_dict()
    scored = any(name.startswith("score.") for name in own)  # else the caller chose the head's
    kept = {name: value for name, value in tensors.items() if scored or name[:6] != "score."}
    # The threshold is that of the caller's share.
    kept["least"] = own["least"].to(kept["least"].dtype)
    _check_fit(own, kept)
    body = detector.get_submodule("body")
    for name, value in kept.items():
        if name.startswith("body.") and value.is_floating_point():
            body.to(value.dtype)  # also what no file keeps
            break
    detector.load_state_dict(kept, assign=True)


def _check_fit(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Raises ValueError if a file has tensors of other names, shapes or types than `own`."""
    others = "it is of another network: "
    if missing := sorted(own.keys() - tensors.keys()):
        raise ValueError(f"{others}it lacks {missing[0]} (and {len(missing) - 1} others)")
    if unknown := sorted(tensors.keys() - own.keys()):
        raise ValueError(f"{others}it has {unknown[0]:.80} (and {len(unknown) - 1} others) besides")
    for name, value in own.items():
        found = tensors[name]
        if found.shape != value.shape:
            raise ValueError(f"{others}its {name} is {list(found.shape)}, not {list(value.shape)}")
        if found.dtype != value.dtype and not {found.dtype, value.dtype} <= {*FLOATS}:
            raise ValueError(f"{others}its {name} is {found.dtype}, not {value.dtype}")
