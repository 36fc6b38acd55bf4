"""Loads the images of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from data import images, layout, sources, splits
from data.entries import TrainingSet
from data.images import EVALUATION_BATCH
from data.streaming import ImageFiles, ImageSet, turned_grey
from models import normalization, split_name

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
    grey: bool  # whether all training images are grey
    notes: tuple[str, ...] = ()  # lines that say what was left out when the sets were loaded

    @property
    def calibration_split(self) -> str:
        """The split that the best epoch is chosen on, and that the temperature is fitted to."""
        return "validation" if "validation" in self.evaluation else "test"

    @property
    def labels(self) -> dict[str, Tensor]:
        """Split → class indices [N], for the splits that have labels."""
        return {name: images.labels for name, images in self.evaluation.items()}

    @property
    def evaluation_sets(self) -> dict[str, ImageSet]:
        """Split or source → images: all sets that a trained network is evaluated on."""
        return self.evaluation | {source: part for source, (_, part) in self.ood.items()}


def load_data(config: RunConfig) -> Data:
    """Return the images that a configuration names.

    Raises ValueError or OSError, with a message of one line, for bad or missing data.
    """
    train, test = sources.load_train_and_test(config.data, config.data_dir, config.size)
    train, test = (with_workers(part, config.workers) for part in (train, test))
    # From all training images, so that it does not depend on the protocol or on a limit.
    reference = sources.reference_image(train)
    grey = images.is_grey(reference)
    # As the OOD images are.
    evaluation = {"test": turned_grey(test, "test") if grey else test}
    notes = [*train.notes, *evaluation["test"].notes]
    entry = sources.entry_of(config.data, config.recipe, config.size)
    if config.protocol == "heldout":
        train, evaluation["validation"] = _hold_out(config, entry, train, test, grey)
        notes += evaluation["validation"].notes
    elif entry.load_validation:
        notes.append(f"{config.data}: --protocol paper does not use its validation set")
    train = train.take(splits.limited(len(train), config.limit_train))
    evaluation = {
        split: part.take(splits.limited(len(part), config.limit_eval))
        for split, part in evaluation.items()
    }
    ood = {}
    for role, source in sources.ood_sets(config.data, config.ood, config.recipe):
        part = sources.load_ood(source, config.data_dir, reference, entry.margin)
        part = with_workers(part, config.workers)
        notes += part.notes
        ood[source] = role, part.take(splits.limited(len(part), config.limit_eval))
    mean, std = entry.mean, entry.std
    if config.weights is not None and (parts := split_name(config.model)):
        mean, std = normalization(*parts)  # of the weights
    if not (mean and std):
        mean, std = images.channel_statistics(train.batches(EVALUATION_BATCH))
    return Data(train, evaluation, ood, mean, std, entry, grey, tuple(dict.fromkeys(notes)))


def _hold_out(
    config: RunConfig, entry: TrainingSet, train: ImageSet, test: ImageSet, grey: bool
) -> tuple[ImageSet, ImageSet]:
    """Return the training and the validation set.

    The latter is the data set's own, or some of the training images.
    """
    if entry.load_validation is None:
        return splits.hold_out(train, sources.validation_share(entry, len(train)))
    own = with_workers(entry.load_validation(config.data_dir, train, test), config.workers)
    return train, turned_grey(own, "validation") if grey else own


def with_workers(part: ImageSet, count: int | None) -> ImageSet:
    """Return a set that so many processes decode, if it is in files."""
    return replace(part, workers=count) if isinstance(part, ImageFiles) else part


def refuse_runs_among_images(config: RunConfig) -> None:
    """Raise ValueError if --runs is inside a folder of class folders.

    The folder of the runs would be taken for a class without images.
    """
    data = Path(config.data)
    for place in layout.places(data) if data.is_dir() else []:
        if config.runs.resolve().is_relative_to(place.resolve()):
            raise ValueError(
                f"--runs {config.runs} lies among the images of {place}: name a folder elsewhere"
            )
