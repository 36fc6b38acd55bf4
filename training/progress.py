"""What a run shows while it trains: a bar on a terminal, a line now and then in a file."""

import sys
import time
from typing import Any

from tqdm import tqdm

from utils.output import print_line

from .epoch_sums import Summary

SECONDS_BETWEEN_LINES = 20  # where the output is no terminal


class Progress:
    """Images done, rate, time left, epoch, loss and accuracy of a whole run.

    Args:
        epochs: of the run.
        images: of all its epochs.
        done: epochs done already (a resumed run).
        images_done: images done already.
        silent: show nothing.
    """

    def __init__(self, epochs: int, images: int, done: int, images_done: int, silent: bool):
        self.epochs, self.epoch, self.silent = epochs, done, silent
        self.on_terminal = sys.stderr is not None and sys.stderr.isatty() and not silent
        self.bar = tqdm(
            total=images,
            initial=images_done,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not self.on_terminal,
            # Within 80 columns.
            bar_format="{desc} {percentage:3.0f}%|{bar}| {rate_fmt}, {remaining} left{postfix}",
        )
        self.started, self.done_before = time.monotonic(), done
        self.last_line = self.started

    def report(self, images: int, so_far: Summary | None) -> None:
        """Count images, and show the epoch so far if it was read."""
        self.bar.update(images)
        if so_far:
            self.bar.set_description(f"epoch {self.epoch + 1}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(
                f"loss {so_far.loss:.3f}, acc {so_far.accuracy:.1%}", refresh=False
            )

    def epoch_done(self, entry: dict[str, Any], split: str) -> None:
        """Show an epoch's end by its line of the log, with the accuracy on the split that chooses
        the epoch.
        """
        self.epoch += 1
        last, now = self.epoch == self.epochs, time.monotonic()
        if (
            self.silent
            or self.on_terminal
            or not (last or now - self.last_line > SECONDS_BETWEEN_LINES)
        ):
            return
        self.last_line = now
        left = (now - self.started) / (self.epoch - self.done_before) * (self.epochs - self.epoch)
        print_line(
            f"epoch {self.epoch}/{self.epochs}: loss {entry['loss']:.3f}, accuracy "
            f"{entry['train_accuracy']:.1%}, "
            f"{split} {entry[f'{split}_accuracy']:.1%}, {entry['images_per_second'] or 0:.0f} "
            "images/s, "
            f"{tqdm.format_interval(left)} left"
        )

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()
