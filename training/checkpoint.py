"""Checkpoints: written whole or not at all, and loaded without running any code in them."""

import io
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from experiment.records import LAST, PREVIOUS
from utils.files import open_regular, whole_file
from utils.program import out_of_memory


def save(path: Path, content: dict[str, Any], previous: Path | None = None) -> None:
    """Write tensors and plain values, with a CRC-32 of each (torch's zip file has them). Raises
    OSError where that fails.

    What was there before is kept as `previous`. Killed at any moment, it leaves the new file, or
    the one before by either name.
    """
    # Into memory first: torch.save reports every failed write as the same RuntimeError. Here it can
    # only mean too little memory.
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:
        if "inline_container" not in str(error):  # not of writing
            raise
        raise MemoryError(f"to write {path}") from error
    with whole_file(path, previous) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, onto the CPU. Raises ValueError, naming the file, if it is damaged or
    not of that kind.

    An out-of-memory error is raised as it is, since the file may be whole.
    """
    with open_regular(path) as file:
        # So an OSError comes from the disk, not from damaged bytes.
        written = io.BytesIO(file.read())
    try:
        with zipfile.ZipFile(written) as archive:
            # torch.load compares no checksums, and does not read a part that is marked as a folder
            # (0x10).
            damaged = archive.testzip() or any(
                part.external_attr & 0x10 for part in archive.infolist()
            )
        written.seek(0)
        content = None if damaged else torch.load(written, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise almost anything
        if out_of_memory(error):
            raise
        content = None
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} is damaged or no checkpoint: delete it, and run the same command again"
        )
    return content


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """A run's last checkpoint, or the one before if that is damaged or missing, with what there is
    to say of it; or None.

    Raises ValueError if there were some, and all are damaged.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if not previous.exists():
        return (load(last) if last.exists() else None), ""
    found = "missing"
    try:
        if last.exists():
            return load(last), ""
    except ValueError:
        found = "damaged"
    return load(previous), f"{last} is {found}: going on from the checkpoint before it"


class CheckpointWriter:
    """Writes a run's checkpoints, each time keeping the one before, and knows when one is due.

    Args:
        folder: the run's.
        every: how often, as a number and `minutes` or `epochs`.
    """

    def __init__(self, folder: Path, every: tuple[float, str]):
        self.folder, (self.every, self.unit) = folder, every
        self.written = time.monotonic()

    def due(self, epoch: int | None = None) -> bool:
        """Whether to write one now: after a step, or at the end of an epoch, which is given."""
        if self.unit == "minutes":
            return time.monotonic() - self.written >= 60 * self.every
        return epoch is not None and epoch % self.every == 0

    def write(self, content: dict[str, Any]) -> None:
        """Write a checkpoint. Raises OSError where that fails; the last one is kept."""
        save(self.folder / LAST, content, self.folder / PREVIOUS)
        self.written = time.monotonic()
