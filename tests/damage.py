"""Damages the content of files, for tests that read damaged files."""

import io
from pathlib import Path

import numpy as np


def damaged(content: bytes, position: float, change: int) -> bytes:
    """The content with one damage at a position.

    Args:
        content: the bytes of a file.
        position: the place of the damage, as a share (0 to 1) of the length.
        change: the bits of the byte that are flipped; 0: the content is cut there.
    """
    index = int(position * (len(content) - 1))
    if change == 0:
        return content[:index]
    return content[:index] + bytes([content[index] ^ change]) + content[index + 1 :]


def npz(**arrays) -> bytes:
    """The bytes of an .npz file."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_or_refused(function, path: Path):
    """The result of `function(path)`; None if it raises a ValueError that names the path."""
    try:
        return function(path)
    except ValueError as error:
        message = str(error)
    assert str(path) in message
    return None
