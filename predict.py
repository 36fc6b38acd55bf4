#!/usr/bin/env python3
"""What a finished run's network says of images: class, calibrated probability, score, and whether
it takes them for its own.
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import csv
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tabulate import tabulate

from data.decoding import SUFFIXES
from data.folders import search
from data.streaming import ImageFiles, fitting
from dismax.detector import Detector
from experiment import records
from reporting import tables
from utils import interruption, program, runtime
from utils.files import whole_file
from utils.output import deliver, print_line, visible

BATCH = 500


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
    out: Path | None = None
    """A .csv or .json file to write the same to."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""

    def check(self) -> None:
        """Raises ValueError for what cannot be."""
        if not 0 <= self.tpr <= 1:
            raise ValueError(f"--tpr is a share in [0, 1], got {self.tpr}")
        if self.out and (self.out.suffix.lower() not in (".csv", ".json") or self.out.is_dir()):
            raise ValueError(f"--out takes a .csv or a .json file, got {self.out}")
        if self.out:
            records.refuse_result_file(self.out)
        if not self.images:
            raise ValueError("no images given: name files, or folders of them")


def find_images(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The image files given and those below the folders given, and notes on what is left out there.

    Raises ValueError for a path without any.
    """
    found, notes = [], []
    for path in given:
        below = [path] if path.exists() else []
        if path.is_dir():
            inside = search(path)
            below = [Path(each) for each, _ in inside.images]
            notes += inside.notes
        if not below:
            raise ValueError(
                f"{path} is no image file and no folder with some ({', '.join(sorted(SUFFIXES))})"
            )
        found += below
    return found, notes


def predictions(
    detector: Detector, paths: Sequence[Path], device: torch.device
) -> list[dict[str, Any]]:
    """A row an image: file, class, probability, score, in_distribution.

    Raises ValueError, naming it, for a damaged image.
    """
    names, rows = np.array([os.fsencode(path) for path in paths]), []
    images = ImageFiles(names, torch.full((len(paths),), -1), (), detector.size, detector.margin)
    size = fitting(BATCH, detector.size)
    for start, pixels in zip(range(0, len(paths), size), images.batches(size), strict=True):
        part, found = paths[start : start + size], detector(pixels.to(device))
        best = found.probabilities.amax(1)
        for path, number, *values in zip(
            part, found.classes, best, found.scores, found.accepted, strict=True
        ):
            probability, score, accepted = (value.item() for value in values)
            named = {
                "file": str(path),
                "class": detector.class_names[number],
                "probability": probability,
            }
            rows.append(named | {"score": score, "in_distribution": accepted})
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows whole or not at all, as the path's ending says.

    In a CSV no cell is a formula: before a class's name comes a ' where it would be one, before a
    file's ./ as it may.
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
            # A spreadsheet takes some names for formulas. The path stays that of the file.
            named = (
                row["file"] if tables.as_text(row["file"]) == row["file"] else f"./{row['file']}"
            )
            writer.writerow(row | {"file": named, "class": tables.as_text(row["class"])})


def perform(options: Options) -> None:
    """Raises ValueError or an OSError for what cannot be."""
    options.check()
    (paths, notes), device = find_images(options.images), runtime.find_device(options.device)
    detector = Detector.load(options.run / records.MODEL, options.tpr).to(device)
    rows = predictions(detector, paths, device)
    for note in notes:
        print_line(f"warning: {note}", sys.stderr)
    if options.out:
        write(options.out, rows)
    shown = [
        [visible(row["file"]), visible(row["class"]), row["probability"], row["score"]]
        for row in rows
    ]
    for row, cells in zip(rows, shown, strict=True):
        cells.append("in" if row["in_distribution"] else "OUT")
    heads = ["file", "class", "probability", "score", f"at {options.tpr:.0%} TPR"]
    table = tabulate(shown, heads, floatfmt=("", "", ".4f", ".4g", ""), disable_numparse=[0, 1])
    reached = (
        f"in: the score is at least {detector.threshold(options.tpr):.4g}, as for "
        f"{options.tpr:.0%} of the held-out images"
    )
    deliver(f"{table}\n\n{reached}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "predict.py", arguments)), "nothing was written"
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
