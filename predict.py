#!/usr/bin/env python3
"""Classifies images with a finished run's network, and marks out-of-distribution ones."""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import csv
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
import tyro
from tabulate import tabulate

from data.folders import none_in, refuse_dead_link, search
from data.images import EVALUATION_BATCH
from data.streaming import ImageFiles, limit_batch
from dismax.detector import Detector
from experiment import records
from reporting import tables
from utils import program, runtime
from utils.files import temporary_path, whole_file
from utils.output import deliver, print_line, visible


@dataclass(frozen=True)
class Options:
    """Classify images with a finished run's network, and mark out-of-distribution ones."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, or folders of them; they are resized to cover the training images' size, and
    their centres taken."""
    tpr: float = 0.95
    """The share of in-distribution images to accept, at least."""
    score: str | None = None
    """The score that decides: own (the head's), or one that `detect.py --deploy` put into the run.
    By default combined if the run has it, else own."""
    out: Path | None = None
    """A .csv or .json file to write the same to."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""

    def check(self) -> None:
        """Raises ValueError for a bad value."""
        if not 0 <= self.tpr <= 1:
            raise ValueError(f"--tpr is a share in [0, 1], got {self.tpr}")
        if self.out:
            check_out(self.out)
        if not self.images:
            raise ValueError("no images given: name files, or folders of them")


def check_out(path: Path) -> None:
    """Raises ValueError if no results can be written to a file.

    Makes no file or folder, so that nothing stays behind if the program fails later.
    """
    folder = path.absolute().parent
    new_folders = []
    while not os.path.lexists(folder):
        new_folders.append(folder.name)
        folder = folder.parent
    try:
        if path.suffix.lower() not in (".csv", ".json") or path.is_dir():
            raise ValueError(f"--out takes a .csv or a .json file, got {path}")
        records.refuse_result_file(path)
        # Only a try can tell: root may write anywhere, but not to a read-only disk.
        with TemporaryFile(dir=folder):
            pass
        for name in (temporary_path(path).name, *new_folders):
            with suppress(FileNotFoundError):
                os.lstat(folder / name)  # raises an error for a name that is too long
    except OSError as error:
        raise ValueError(
            f"--out {path} cannot be written ({error.strerror}): name a file elsewhere"
        ) from error


def find_images(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files at or below these paths, and a note on each kind of files left out.

    Raises ValueError for a path without images.
    """
    images, notes = [], []
    for path in paths:
        if path.is_dir():
            found = search(path)
            if not found.images:
                raise ValueError(none_in(path))
            images += [Path(name) for name, _ in found.images]
            notes += found.notes
        elif path.exists():
            images.append(path)
        else:
            refuse_dead_link(path)
            raise ValueError(f"{path} is no file: name image files, or folders of them")
    return images, notes


def predictions(
    detector: Detector, paths: Sequence[Path], device: torch.device
) -> list[dict[str, Any]]:
    """Return a row for each image: file, class, probability, score, in_distribution.

    Raises ValueError, naming the file, for a damaged image.
    """
    if detector.size is None:
        raise ValueError("the detector does not know its images' size")
    names = np.array([os.fsencode(path) for path in paths])
    no_labels = torch.full((len(paths),), -1)
    images = ImageFiles(names, no_labels, (), detector.size, detector.margin)
    answers = []
    for pixels in images.batches(limit_batch(EVALUATION_BATCH, detector.size)):
        found = detector(pixels.to(device))
        answers += zip(
            found.classes.tolist(),
            found.probabilities.amax(1).tolist(),
            found.scores.tolist(),
            found.accepted.tolist(),
            strict=True,
        )
    return [
        {
            "file": str(path),
            "class": detector.class_names[number],
            "probability": probability,
            "score": score,
            "in_distribution": accepted,
        }
        for path, (number, probability, score, accepted) in zip(paths, answers, strict=True)
    ]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as JSON or CSV, by the path's suffix. The file is whole or not there.

    A spreadsheet takes a cell that begins with = + - or @ for a formula. So such a class name gets
    a ' in front, and such a file name gets ./ in front, which keeps it a name of the same file.
    """
    if path.suffix.lower() == ".json":
        records.write_json(path, rows)
        return
    with (
        whole_file(path) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        for row in rows:
            name = row["file"]
            if tables.as_text(name) != name:
                name = f"./{name}"
            writer.writerow(row | {"file": name, "class": tables.as_text(row["class"])})


def table(rows: list[dict[str, Any]], tpr: float) -> str:
    """Return the rows as a table to print."""
    cells = [
        [
            visible(row["file"]),
            visible(row["class"]),
            row["probability"],
            row["score"],
            "in" if row["in_distribution"] else "OUT",
        ]
        for row in rows
    ]
    headers = ["file", "class", "probability", "score", f"at {tpr:.0%} TPR"]
    return tabulate(cells, headers, floatfmt=("", "", ".4f", ".4g", ""), disable_numparse=[0, 1])


def perform(options: Options) -> None:
    """Classify the images. Raises ValueError or an OSError for bad input."""
    options.check()
    paths, notes = find_images(options.images)
    device = runtime.find_device(options.device)
    path = options.run / records.MODEL
    detector = Detector.load(path, options.tpr, options.score).to(device)
    rows = predictions(detector, paths, device)
    for note in notes:
        print_line(f"warning: {note}", sys.stderr)
    if options.out:
        write(options.out, rows)
    threshold = (
        f"in: the score is at least {detector.threshold(options.tpr):.4g}, as for "
        f"{options.tpr:.0%} of the held-out images"
    )
    deliver(f"{table(rows, options.tpr)}\n\n{threshold}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "predict.py", arguments)), "nothing was written"
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
