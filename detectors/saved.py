"""A fitted score as plain values for a file, and back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .ash import ASHB, ASHS
from .combined import Combined, LogP
from .contract import Score
from .energy import Energy
from .gen import GEN
from .knn import KNN
from .mahalanobis import Mahalanobis
from .maxlogit import MaxLogit
from .own import Own
from .react import ReAct
from .scale import SCALE
from .vim import ViM

# A file names a score by its class.
KINDS: dict[str, type[Score]] = {
    kind.__name__: kind
    for kind in (
        *(MaxLogit, Energy, GEN, KNN, Mahalanobis, ViM, ReAct, ASHB, ASHS, SCALE),
        *(Own, LogP, Combined),
    )
}


def pack(score: Score) -> dict[str, Any]:
    """Return a score as tensors, numbers and names: its class as `kind`, and what made it."""
    values = {name: getattr(score, name) for name in score.names}
    packed = {
        name: pack(value) if isinstance(value, Score) else value for name, value in values.items()
    }
    return {"kind": type(score).__name__} | packed


def unpack(content: Mapping[str, Any]) -> Score:
    """Return the score that `pack` wrote.

    Raises ValueError for an unknown class, or for values that the class does not take. That the
    values fit a network is not checked.
    """
    values = dict(content)
    kind = values.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"a score's kind is one of {', '.join(KINDS)}, got {kind!r:.40}")
    try:
        return KINDS[kind](**{name: _unpacked(value) for name, value in values.items()})
    except TypeError as error:
        raise ValueError(f"a score of kind {kind} has other values: {', '.join(values)}") from error


def _unpacked(value: Any) -> Tensor | float | Score:
    return unpack(value) if isinstance(value, Mapping) else value


def outline(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `pack` returned with None for each tensor, for a file that has them elsewhere.

    What is None already is left out.
    """
    outlined = {}
    for name, value in packed.items():
        if isinstance(value, Tensor):
            outlined[name] = None
        elif value is not None:
            outlined[name] = outline(value) if isinstance(value, Mapping) else value
    return outlined


def fill(outlined: Mapping[str, Any], tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    """Return what `outline` was given.

    Args:
        outlined: what it returned.
        tensors: by name, as a state dict names them.
        prefix: the beginning of their names.

    Raises KeyError, with its name, for a tensor that is not there.
    """
    return {
        name: fill(value, tensors, f"{prefix}{name}.")
        if isinstance(value, Mapping)
        else (tensors[prefix + name] if value is None else value)
        for name, value in outlined.items()
    }
