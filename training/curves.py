"""A run's curves while it trains, for TensorBoard, over the steps done: in the run's folder,
written by its first process.
"""

from pathlib import Path
from typing import Any

from .epoch_sums import Summary


def check() -> None:
    """Raises ValueError where TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise ValueError(
            f"--tensorboard needs TensorBoard ({error}): pip install tensorboard, or leave it out"
        ) from error


class Curves:
    """The curves of one run, which go on where an earlier process left off.

    Args:
        folder: the run's.
        after: steps that are done and whose points are kept; later ones, of a process that was
            killed, go.
        silent: write nothing.
    """

    def __init__(self, folder: Path, after: int, silent: bool):
        self.writer = None
        if not silent:
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(str(folder), purge_step=after + 1)

    def report(self, step: int, so_far: Summary | None, learning_rate: float) -> None:
        """A point of the epoch so far, if it was read after this step."""
        if so_far:
            self._add(step, {"loss/epoch so far": so_far.loss, "learning_rate": learning_rate})

    def epoch_done(self, step: int, entry: dict[str, Any], split: str) -> None:
        """An epoch's points, from its line of the log with the last learning rate; `split` is the
        one that chooses the epoch.
        """
        named = {
            "loss/train": "loss",
            "accuracy/train": "train_accuracy",
            f"accuracy/{split}": f"{split}_accuracy",
        }
        self._add(
            step,
            {
                tag: entry[name]
                for tag, name in (
                    named | {"learning_rate": "learning_rate", "epoch": "epoch"}
                ).items()
            },
        )

    def _add(self, step: int, values: dict[str, float]) -> None:
        if self.writer:
            for tag, value in values.items():
                self.writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        """Bring to the disk what a checkpoint presumes."""
        if self.writer:
            self.writer.flush()

    def close(self) -> None:
        """Write the rest."""
        if self.writer:
            self.writer.close()
