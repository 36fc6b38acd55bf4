"""Checkpoints: written whole or not at all, and loaded without running any code in them."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from .records import whole_file


def save(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values. Raises OSError where that fails."""
    # In memory first: torch.save itself hides why a write failed (a full disk) behind a RuntimeError.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with whole_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. Raises ValueError, naming the file, if it is damaged or not of that kind."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch.load does not compare the checksums
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, ValueError, LookupError, TypeError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error):
        content = None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged or no checkpoint: delete it to start afresh")
    return content
