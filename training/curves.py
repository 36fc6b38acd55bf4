"""Writes a run's training curves for TensorBoard into the run's folder."""

from pathlib import Path
from typing import Any

from .epoch_sums import Summary


def check() -> None:
    """Raises ValueError if TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--tensorboard needs TensorBoard ({error}): pip install tensorboard, or leave it out"
        ) from error


class Curves:
    """The curves of one run, over its steps. A resumed run goes on with the same curves.

    Args:
        folder: the run's folder.
        steps: the steps that are done. Their points stay. Later points are deleted: a process
            that was killed wrote them.
        silent: whether to write nothing.
    """

    def __init__(self, folder: Path, steps: int, silent: bool):
        self.writer = None
        if not silent:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=steps + 1)

    def report(self, step: int, so_far: Summary | None, learning_rate: float) -> None:
        """Write a point of the epoch so far, if it was read after this step."""
        if so_far:
            self._add(step, {"loss/epoch so far": so_far.loss, "learning_rate": learning_rate})

    def epoch_done(self, step: int, entry: dict[str, Any], split: str) -> None:
        """Write the points of a finished epoch.

        Args:
            step: the steps that are done.
            entry: the epoch's entry in the training log, with its last learning rate.
            split: the calibration split.
        """
        points = {
            "loss/train": entry["loss"],
            "accuracy/train": entry["train_accuracy"],
            f"accuracy/{split}": entry[f"{split}_accuracy"],
            "learning_rate": entry["learning_rate"],
            "epoch": entry["epoch"],
        }
        self._add(step, points)

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self.writer:
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Write all points to the disk, before a checkpoint counts their steps as done."""
        if self.writer:
            self.writer.flush()

    def close(self) -> None:
        """Write all points and close the file."""
        if self.writer:
            self.writer.close()
