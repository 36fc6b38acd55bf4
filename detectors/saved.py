"""A fitted score as plain values for a file, and back."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from .contract import Score


class UnknownScore(ValueError):
    """The class of a score is not known: no module that has it was imported."""


def pack(score: Score) -> dict[str, Any]:
    """Return a score as tensors, numbers and names: its class as `kind`, and what made it."""
    values = {name: getattr(score, name) for name in score.names}
    packed = {
        name: pack(value) if isinstance(value, Score) else value for name, value in values.items()
    }
    return {"kind": type(score).__name__} | packed


def unpack(content: Mapping[str, Any]) -> Score:
    """Return the score that `pack` wrote.

    Raises UnknownScore for an unknown class, and ValueError for values that the class does not
    take. That the values fit a network is not checked.
    """
    values = dict(content)
    kind = values.pop("kind", None)
    if not isinstance(kind, str):
        raise ValueError("it has a score without a class")
    if kind not in Score.kinds:
        raise UnknownScore(
            f"its score {kind:.40} is not known: name the plugin that has it, or import it"
        )
    try:
        return Score.kinds[kind](**{name: _unpacked(value) for name, value in values.items()})
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
