"""The bar on a terminal, and the lines elsewhere."""

import fcntl
import os
import re
import select
import struct
import termios
from contextlib import closing, contextmanager, redirect_stderr

import pytest

from training.epoch_sums import Summary
from training.progress import Progress

COLUMNS = 80


@contextmanager
def terminal():
    """Make standard error a terminal of 80 columns. Yields a function that reads what it shows.

    No fixture, because pytest replaces standard error between a fixture and its test.
    """
    main, side = os.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    with os.fdopen(side, "w") as stream, redirect_stderr(stream):

        def shown():
            stream.flush()
            content = b""
            while select.select([main], [], [], 0.1)[0]:  # the system passes it on in pieces
                content += os.read(main, 65536)
            text = content.decode()
            return [line for line in re.split(r"[\r\n]+", text) if line.strip()]

        yield shown
    os.close(main)


@contextmanager
def bar(**arguments):
    """Yields a bar on a terminal, and a function that returns the last line there."""
    with terminal() as shown, closing(Progress(silent=False, **arguments)) as progress:

        def last():
            progress.bar.refresh()
            return shown()[-1]

        yield progress, last


def entry(split, accuracy, loss=0.5):
    return {
        "loss": loss,
        "train_accuracy": 0.75,
        "images_per_second": 9.0,
        f"{split}_accuracy": accuracy,
    }


@pytest.mark.parametrize(("split", "name"), [("validation", "val"), ("test", "test")])
def test_the_bar_has_the_held_out_accuracy_of_the_last_epoch(split, name):
    with bar(epochs=3, images=30, done=0, images_done=0) as (progress, last):
        progress.report(5, Summary(2.0, 0.25))
        assert last().endswith("left, loss 2.000, acc 25.0%")  # no epoch is finished yet
        progress.epoch_done(entry(split, 0.625), split)
        progress.report(5, Summary(1.0, 0.5))
        line = last()
    assert line.startswith("epoch 2/3: |")
    assert line.endswith(f"left, loss 1.000, acc 50.0%, {name} 62.5%")


def test_an_epoch_whose_sums_are_not_read_shows_its_number_and_its_loss():
    with bar(epochs=2, images=20, done=0, images_done=0) as (progress, last):
        for loss in (0.9, 0.4):
            progress.report(10, None)
            progress.epoch_done(entry("validation", 0.5, loss), "validation")
        line = last()
    assert line.startswith("epoch 2/2: |")
    assert line.endswith("loss 0.400, acc 75.0%, val 50.0%")


def test_a_long_run_fits_into_80_columns():
    with bar(epochs=300, images=15_000_000, done=298, images_done=10) as (progress, last):
        progress.epoch_done(entry("validation", 0.999, 10.5), "validation")
        progress.report(1000, None)
        line = last()
    assert len(line) < COLUMNS
    assert line.endswith("loss 10.500, acc 75.0%, val 99.9%")


def test_elsewhere_the_last_epoch_is_a_line(capsys):
    progress = Progress(epochs=2, images=20, done=0, images_done=0, silent=False)
    for _ in range(2):
        progress.report(10, None)
        progress.epoch_done(entry("validation", 0.625), "validation")
    progress.close()
    out, err = capsys.readouterr()
    assert err == ""
    assert re.sub(r"[\d:]+ left", "TIME left", out) == (
        "epoch 2/2: loss 0.500, accuracy 75.0%, validation 62.5%, 9 images/s, TIME left\n"
    )
