#!/usr/bin/env python3
"""Classifies images with a trained network, and marks out-of-distribution ones."""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import tyro
from tqdm import tqdm

from data.folders import none_in, search
from data.images import has_colour
from data.streaming import limit_batch
from data.tolerant import Batch, TolerantFiles
from experiment import classifier, records
from experiment.classifier import Classifier
from reporting import sheet, summary
from reporting.rows import Row, writer
from utils import program
from utils.files import temporary_path
from utils.output import deliver, print_line
from utils.plugins import WithPlugins

BATCH = 64  # images at a time: few, so that memory stays small and rows are written early
NOT_FINITE = "the network's answer is not finite: is it damaged?"


@dataclass(frozen=True)
class Options(WithPlugins):
    """Classify images with a trained network, and mark out-of-distribution ones."""

    network: tyro.conf.Positional[Path]
    """A run's folder, a model.pt, an exported detector (.onnx; .safetensors if it came from a run),
    or cifar10, the network that is included."""
    images: tyro.conf.Positional[tuple[Path, ...]]
    """Image files, or folders of them; they are resized to cover the training images' size, and
    their centres taken."""
    tpr: float | None = None
    """The share of in-distribution images to accept, at least; 0.95 by default. An exported
    detector has its own, which cannot be changed in an ONNX file."""
    score: str | None = None
    """The score that decides: own (the head's), or one that `detect.py --deploy` put into the run.
    By default combined if the run has it, else own. An exported detector has its own."""
    per_class: bool = False
    """A threshold for each predicted class, so that the share holds for each."""
    out: Path | None = None
    """A .csv or .json file with a row for each image. It appears when all images are done."""
    probabilities: bool = False
    """Write the probability of every class to --out."""
    sheet: Path | None = None
    """A .png file: a contact sheet of up to 48 accepted and 48 refused images."""
    verbose: bool = False
    """Print a line for each image, however many there are."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""

    def check(self) -> None:
        """Raises ValueError for a bad value."""
        if self.tpr is not None and not 0 <= self.tpr <= 1:
            raise ValueError(f"--tpr is a share in [0, 1], got {self.tpr}")
        if self.out:
            check_writable("--out", self.out, (".csv", ".json"))
        if self.sheet:
            check_writable("--sheet", self.sheet, (".png",))
        if self.probabilities and not self.out:
            raise ValueError("--probabilities adds to the file of --out: name one")
        if not self.images:
            raise ValueError(
                f"only {self.network} is named: name a network first, then images or folders"
            )


def check_writable(option: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Raises ValueError if an option's file has another suffix, or cannot be written.

    Makes no file or folder, so that nothing stays behind if the program fails later.
    """
    folder = path.absolute().parent
    new_folders = []
    while not os.path.lexists(folder):
        new_folders.append(folder.name)
        folder = folder.parent
    try:
        if path.suffix.lower() not in suffixes or path.is_dir():
            raise ValueError(f"{option} takes a {' or a '.join(suffixes)} file, got {path}")
        records.refuse_result_file(path)
        # Only a try can tell: root may write anywhere, but not to a read-only disk.
        with TemporaryFile(dir=folder):
            pass
        for name in (temporary_path(path).name, *new_folders):
            with suppress(FileNotFoundError):
                os.lstat(folder / name)  # raises an error for a name that is too long
    except OSError as error:
        raise ValueError(
            f"{option} {path} cannot be written ({error.strerror}): name a file elsewhere"
        ) from error


def find_images(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files at or below these paths, and a note on each kind of files left out.

    Files that cannot be read are among them. Raises ValueError for a path without images.
    """
    images, notes = [], []
    for path in paths:
        if path.is_dir():
            found = search(path, strict=False)
            if not found.images:
                raise ValueError(none_in(path))
            images += [Path(name) for name, _ in found.images]
            notes += found.notes
        elif os.path.lexists(path):
            images.append(path)
        else:
            raise ValueError(f"{path} is no file: name image files, or folders of them")
    return images, notes


def answers(network: Classifier, batch: Batch, every: bool) -> Iterator[dict[str, Any]]:
    """Yield the columns of a row for each image that could be read.

    Args:
        network: decides about the images.
        batch: the images.
        every: whether to give the probabilities of all classes.
    """
    if not batch.sizes:
        return
    found = network(batch.pixels)
    first, names = found.classes[:, None], network.class_names
    seconds = found.probabilities.scatter(1, first, -1).max(1)
    columns = {
        "probability": found.probabilities.gather(1, first)[:, 0].tolist(),
        "second_probability": seconds.values.tolist(),
        "score": found.scores.tolist(),
        "accepted": found.accepted.tolist(),
        "coloured": has_colour(batch.pixels).tolist(),
        "size": batch.sizes,
        "name": [names[number] for number in found.classes.tolist()],
        "second_name": [names[number] for number in seconds.indices.tolist()],
    }
    if every:
        columns["probabilities"] = found.probabilities.tolist()
    finite = (found.scores + found.probabilities.sum(1)).isfinite().tolist()
    for values, fine in zip(zip(*columns.values(), strict=True), finite, strict=True):
        yield dict(zip(columns, values, strict=True)) if fine else {"error": NOT_FINITE}


def rows(network: Classifier, paths: Sequence[Path], every: bool) -> Iterator[Row]:
    """Yield a row for each image as soon as its batch is done. `every` is as in `answers`."""
    names = np.array([os.fsencode(path) for path in paths])
    waiting = iter(paths)
    files = TolerantFiles(names, network.size, network.margin)
    for batch in files.batches(limit_batch(BATCH, network.size)):
        found = answers(network, batch, every)
        for reason in batch.reasons:
            file = str(next(waiting))
            yield Row(file, error=reason) if reason else Row(file, **next(found))


def perform(options: Options) -> int:
    """Classify the images, and return the exit status: 1 if one of them could not be read.

    Raises ValueError or an OSError for bad input.
    """
    options.check()
    paths, notes = find_images(options.images)
    if options.sheet and os.path.realpath(options.sheet) in map(os.path.realpath, paths):
        raise ValueError(f"--sheet {options.sheet} is one of the images: name a file elsewhere")
    network = classifier.load(
        options.network, options.tpr, options.score, options.device, options.per_class
    )
    for note in notes:
        print_line(f"warning: {note}", sys.stderr)
    counts, listed = summary.Summary(network), []
    with ExitStack() as files:
        uses: list[Callable[[Row], None]] = [counts.add]
        if options.out:
            all_names = network.class_names if options.probabilities else ()
            uses.append(files.enter_context(writer(options.out, all_names)))
        if options.sheet:
            rule = summary.decision_rule(network)
            uses.append(files.enter_context(sheet.writer(options.sheet, rule)))
        if options.verbose or len(paths) <= summary.FEW:
            uses.append(listed.append)
        found = rows(network, paths, options.probabilities)
        for row in tqdm(found, total=len(paths), unit=" images", leave=False, disable=None):
            for use in uses:
                use(row)
    for warning in counts.warnings():
        print_line(f"warning: {warning}", sys.stderr)
    deliver("\n\n".join(counts.paragraphs(listed)))
    if counts.failed:
        print_line(f"error: {counts.failed_files()}", sys.stderr)
    return 1 if counts.failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed (or an image did), 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "predict.py", arguments)), "nothing was written"
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
