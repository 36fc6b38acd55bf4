"""Shows the progress of a run: a bar on a terminal, otherwise a line from time to time."""

import sys
import time
from typing import Any

from tqdm import tqdm

from utils.output import print_line

from .epoch_sums import Summary

SECONDS_BETWEEN_LINES = 20  # if the output is no terminal
SHORT = {"validation": "val", "test": "test"}  # names of calibration splits in the bar


class Progress:
    """Images, speed, time left, epoch, loss and accuracy of a whole run.

    Args:
        epochs: the run's number of epochs.
        images: the number of images of all epochs together.
        done: finished epochs of a resumed run.
        images_done: finished images of a resumed run.
        silent: whether to show nothing.
    """

    def __init__(self, epochs: int, images: int, done: int, images_done: int, silent: bool):
        self.epochs = epochs
        self.epoch = done
        self.silent = silent
        self.on_terminal = sys.stderr is not None and sys.stderr.isatty() and not silent
        self.bar = tqdm(
            total=images,
            initial=images_done,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self.on_terminal,
            # Fits into 80 columns.
            bar_format="{desc}|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )
        self.held_out = ""  # the last epoch's accuracy on the calibration split
        self.done_before = done
        self.started = time.monotonic()
        self.last_line = self.started

    def report(self, images: int, so_far: Summary | None) -> None:
        """Count the images of a step. Show the epoch so far if it was read."""
        self.bar.update(images)
        if so_far:
            self._describe(self.epoch + 1, so_far.loss, so_far.accuracy)

    def _describe(self, epoch: int, loss: float, accuracy: float) -> None:
        """Put an epoch into the bar, which shows it when it is drawn next."""
        self.bar.set_description(f"epoch {epoch}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(f"loss {loss:.3f}, acc {accuracy:.1%}{self.held_out}", False)

    def epoch_done(self, entry: dict[str, Any], split: str) -> None:
        """Show a finished epoch.

        Args:
            entry: the epoch's entry in the training log.
            split: the calibration split. The entry has the accuracy on it.
        """
        self.epoch += 1
        self.held_out = f", {SHORT[split]} {entry[f'{split}_accuracy']:.1%}"
        # An epoch of few steps is over before its running sums are read.
        self._describe(self.epoch, entry["loss"], entry["train_accuracy"])
        now = time.monotonic()
        due = self.epoch == self.epochs or now - self.last_line > SECONDS_BETWEEN_LINES
        if self.silent or self.on_terminal or not due:
            return
        self.last_line = now
        seconds_per_epoch = (now - self.started) / (self.epoch - self.done_before)
        left = tqdm.format_interval(seconds_per_epoch * (self.epochs - self.epoch))
        print_line(
            f"epoch {self.epoch}/{self.epochs}: loss {entry['loss']:.3f}, "
            f"accuracy {entry['train_accuracy']:.1%}, {split} {entry[f'{split}_accuracy']:.1%}, "
            f"{entry['images_per_second'] or 0:.0f} images/s, {left} left"
        )

    def close(self) -> None:
        """End the bar."""
        self.bar.close()
