"""Shows the progress of a run: a bar on a terminal, otherwise a line from time to time."""

import sys
import time
from typing import Any

from tqdm import tqdm

from utils.output import print_line

from .epoch_sums import Summary

SECONDS_BETWEEN_LINES = 20  # if the output is no terminal


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
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )
        self.done_before = done
        self.started = time.monotonic()
        self.last_line = self.started

    def report(self, images: int, so_far: Summary | None) -> None:
        """Count the images of a step. Show the epoch so far if it was read."""
        self.bar.update(images)
        if so_far:
            self.bar.set_description(f"epoch {self.epoch + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(
                f"loss {so_far.loss:.3f}, acc {so_far.accuracy:.1%}", refresh=False
            )

    def epoch_done(self, entry: dict[str, Any], split: str) -> None:
        """Show a finished epoch.

        Args:
            entry: the epoch's entry in the training log.
            split: the calibration split. The entry has the accuracy on it.
        """
        self.epoch += 1
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
