"""A run's images, loaded as its configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import fingerprint, images, sources
from data.entries import TrainingSet
from data.images import EVALUATION_BATCH
from data.streaming import ImageSet

from .config import RunConfig


@dataclass(frozen=True)
class Data:
    """The images of a run."""

    train: ImageSet
    evaluation: dict[str, ImageSet]  # "test", and "validation" under the held-out protocol
    ood: dict[str, tuple[str, ImageSet]]  # source → role, images
    mean: Sequence[float]
    std: Sequence[float]
    entry: TrainingSet  # catalog entry of the in-distribution set, with the recipe's changes
    notes: tuple[str, ...] = ()  # on what was left out of the sets, a line each

    @property
    def calibration_split(self) -> str:
        """The split that chooses the epoch and fits the temperature."""
        return "validation" if "validation" in self.evaluation else "test"

    @property
    def evaluation_sets(self) -> dict[str, ImageSet]:
        """Split or source → images: everything that a trained network is judged by."""
        return self.evaluation | {source: part for source, (_, part) in self.ood.items()}


def load_data(config: RunConfig) -> Data:
    """All images of a run.

    Raises ValueError or an OSError, in one line, for what is bad or not there.
    """
    refuse_runs_among_images(config)
    train, test = sources.load_train_and_test(config.data, config.data_dir)
    # Before any are left out, so that the same images give the same.
    reference = sources.reference(train)
    notes = [*train.notes, *test.notes]
    entry, evaluation = sources.entry_of(config.data, config.recipe), {"test": test}
    if config.protocol == "heldout":
        train, evaluation["validation"] = sources.hold_out(train, entry.validation)
    train = train.take(sources.limited(len(train), config.limit_train))
    evaluation = {
        split: part.take(sources.limited(len(part), config.limit_eval))
        for split, part in evaluation.items()
    }
    ood = {}
    for role, source in sources.ood_sets(config.data, config.ood, config.recipe):
        part = sources.load_ood(source, config.data_dir, reference, entry.margin)
        notes += part.notes
        ood[source] = role, part.take(sources.limited(len(part), config.limit_eval))
    mean, std = entry.mean, entry.std
    if not (mean and std):
        mean, std = images.channel_statistics(train.batches(EVALUATION_BATCH))
    return Data(train, evaluation, ood, mean, std, entry, tuple(notes))


def refuse_runs_among_images(config: RunConfig) -> None:
    """Raises ValueError for a --runs inside a folder of class folders: the runs would count as a
    class without images.
    """
    for split in (Path(config.data) / "train", Path(config.data) / "test"):
        if split.is_dir() and config.runs.resolve().is_relative_to(split.resolve()):
            raise ValueError(
                f"--runs {config.runs} lies among the images of {split}: name a folder elsewhere"
            )


def refuse_other_training_data(data: Data, record: Mapping[str, Any]) -> None:
    """Raises ValueError if a run was trained on other images or labels than these; a record of an
    earlier version does not say.
    """
    held = record.get("fingerprints", {}).get("train")
    if held is not None and held != fingerprint.of(data.train):
        raise ValueError(
            "the training images or labels in --data-dir are others than those of the run: put "
            "them back as they were"
        )
