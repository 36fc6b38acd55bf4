"""Writes and reads tensors and plain values in torch's zip format, without running code in a file.

The format has a CRC-32 of each part, but `torch.load` does not compare it: `load` here does.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from .files import whole_file

# Marks a folder in a zip file. torch does not read a part with this mark: its tensor would hold
# whatever was in memory.
FOLDER = 0x10


def save(path: Path, content: dict[str, Any], previous: Path | None = None) -> None:
    """Write a file whole or not at all.

    Killed at any moment, it leaves the new file, or the old one as `path` or `previous`.

    Args:
        path: the file.
        content: tensors and plain values.
        previous: the old file is kept under this name.

    Raises OSError if writing fails, MemoryError if memory ends.
    """
    # Into memory first: `torch.save` reports every failed write as the same RuntimeError. A write
    # into memory can fail only if memory ends.
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:
        if "inline_container" not in str(error):  # not an error of writing
            raise
        raise MemoryError(f"to write {path}") from error
    with whole_file(path, previous) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load(file: BinaryIO) -> Any:
    """Read what `save` wrote, onto the CPU.

    Raises ValueError for a wrong checksum or another kind of zip file. Damaged bytes may raise
    other errors too.
    """
    with zipfile.ZipFile(file) as archive:
        for part in archive.infolist():
            if part.compress_type:  # a small file could unpack to any size
                raise ValueError("it is compressed, which a run's is not")
            if part.external_attr & FOLDER:
                raise ValueError(f"{part.filename} calls itself a folder")
        if part := archive.testzip():
            raise ValueError(f"{part} has a wrong checksum: it changed after it was written")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def reason(error: Exception) -> str:
    """Return in one line why a file of torch's format could not be read."""
    # torch's own message advises weights_only=False, which is unsafe.
    if isinstance(error, pickle.UnpicklingError):
        return "it holds something else than tensors, numbers and names"
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
