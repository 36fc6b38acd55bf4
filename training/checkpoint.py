"""A run's checkpoints: the last one, and the one before it."""

import io
import time
from pathlib import Path
from typing import Any

from dismax import archive
from experiment.records import LAST, PREVIOUS
from utils.files import open_regular
from utils.program import out_of_memory


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, onto the CPU.

    An out-of-memory error is raised as it is, because the file may be whole.

    Raises ValueError, naming the file, if it is damaged or no checkpoint.
    """
    with open_regular(path) as file:
        # The whole file first: from here on, an error means damaged bytes, not a failing disk.
        content = io.BytesIO(file.read())
    try:
        checkpoint = archive.load(content)
    except Exception as error:  # damaged bytes raise almost anything
        if out_of_memory(error):
            raise
        checkpoint = None
    if not isinstance(checkpoint, dict):
        raise ValueError(
            f"{path} is damaged or no checkpoint: delete it, and run the same command again"
        )
    return checkpoint


def load_latest(folder: Path) -> tuple[dict[str, Any] | None, str]:
    """The last checkpoint of a run, or the one before it if the last is damaged or missing.

    Returns:
        the checkpoint, None if there is none; and a warning, "" if there is nothing to warn of.

    Raises ValueError if there are checkpoints and all are damaged.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    if not previous.exists():
        return (load(last) if last.exists() else None), ""
    problem = "missing"
    if last.exists():
        try:
            return load(last), ""
        except ValueError:
            problem = "damaged"
    return load(previous), f"{last} is {problem}: going on from the checkpoint before it"


class CheckpointWriter:
    """Writes a run's checkpoints, keeps the one before, and knows when the next one is due.

    Args:
        folder: the run's folder.
        every: the interval, a number and its unit, `minutes` or `epochs`.
    """

    def __init__(self, folder: Path, every: tuple[float, str]):
        self.folder = folder
        self.interval, self.unit = every
        self.written = time.monotonic()

    def due(self, epoch: int | None = None) -> bool:
        """Whether a checkpoint is due now.

        Args:
            epoch: the number of finished epochs, at the end of an epoch; None after a step.
        """
        if self.unit == "minutes":
            return time.monotonic() - self.written >= 60 * self.interval
        return epoch is not None and epoch % self.interval == 0

    def write(self, content: dict[str, Any]) -> None:
        """Write a checkpoint.

        Raises OSError if that fails; the last checkpoint is kept.
        """
        archive.save(self.folder / LAST, content, self.folder / PREVIOUS)
        self.written = time.monotonic()
