"""Checks that the labels and class names of a training and a test set fit together."""

import re
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from .folders import shown, some
from .streaming import ImageSet

SameKind = TypeVar("SameKind", bound=ImageSet)


def number(labels: Tensor, folder: Path) -> tuple[str, ...]:
    """Return the class names of training labels that come without names: their numbers.

    Raises ValueError if the labels are not 0, 1, ... without a gap.
    """
    numbers = labels.unique().tolist()
    if numbers != list(range(len(numbers))):
        listed = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        raise ValueError(
            f"{folder}: training labels must number the classes from 0 on without a gap, got "
            f"{listed}: renumber them, or add class_names to an .npz"
        )
    return tuple(map(str, numbers))


def match(train: ImageSet, test: SameKind, folder: Path, split: str = "test") -> SameKind:
    """Return the test set with the training set's classes.

    Classes are matched by name. Neither set need have images of all: notes name those without. If
    the test set has no names, and the training folders are named 0, 1, 2, ..., its labels are these
    names.

    Args:
        train: the training set.
        test: the test set, or another one of the same kind.
        folder: the folder of both, for messages.
        split: what messages call `test`.

    Raises ValueError if the test set has a class that the training set does not have.
    """
    test = _with_the_same_numbers(train, test, folder, split)
    notes = [*test.notes]
    for part, name in ((train, "training"), (test, split)):
        seen = set(part.labels.tolist())
        if missing := [each for label, each in enumerate(train.classes) if label not in seen]:
            notes.append(
                f"{shown(folder)}: the {name} set has no images of {len(missing)} of "
                f"{len(train.classes)} classes ({some(missing)})"
            )
    return replace(test, notes=tuple(notes))


def _with_the_same_numbers(train: ImageSet, test: SameKind, folder: Path, split: str) -> SameKind:
    """Return the test set with the classes, and their numbers, of the training set."""
    # In an .npz a label is the number of a class name, so its names are no numbers of a test set.
    in_folders = not (folder / "train.npz").is_file()
    if not test.classes and in_folders and _numbers_in_another_order(train.classes):
        test = replace(test, classes=tuple(map(str, range(len(train.classes)))))
    if not test.classes and in_folders:
        refuse_ambiguous(train.classes, test.labels, f"{folder}, {split}")
    # Without names, the test labels are the numbers of the training classes.
    if test.classes in ((), train.classes):
        return replace(test, classes=train.classes)
    unknown = sorted(set(test.classes) - set(train.classes))
    if unknown:
        raise ValueError(
            f"{folder}: train and {split} have different classes: of the {split} set's, "
            f"{some(unknown)} {'is' if len(unknown) == 1 else 'are'} not among the training set's "
            f"({some(train.classes)}): rename them, move them elsewhere, or give an .npz "
            "class_names"
        )
    refuse_wrong_labels(test, f"{folder}, {split}")
    numbers = torch.tensor([train.classes.index(name) for name in test.classes])
    return replace(test, labels=numbers[test.labels], classes=train.classes)


def refuse_ambiguous(names: tuple[str, ...], labels: Tensor, where: str) -> None:
    """Raise ValueError if labels without names may number the classes of folders in two ways.

    They may if the order of the names as text is another one than by the numbers in them (class10
    comes before class2), or if the names are numbers from 1 on, and a label is one of them.

    Args:
        names: of the folders, in the order of text.
        labels: of the other set [N].
        where: what the error begins with: the place of the labels.
    """
    groups: dict[tuple[str, ...], list[list[int]]] = {}
    for name in names:
        parts = re.split("([0-9]+)", name)  # every second one is a number
        groups.setdefault(tuple(parts[::2]), []).append([*map(int, parts[1::2])])
    in_order = all(numbers == sorted(numbers) for numbers in groups.values())
    numbers = [int(name) for name in names if re.fullmatch("[0-9]+", name)]
    all_numbers = len(numbers) == len(names) and numbers != [*range(len(names))]
    if not in_order or (all_numbers and {*numbers} & {*labels.tolist()}):
        raise ValueError(
            f"{where}: the labels have no names, and may number the classes of the folders "
            f"({some(names)}) in two ways: give this set as class folders too, or an .npz "
            "class_names"
        )


def _numbers_in_another_order(names: tuple[str, ...]) -> bool:
    """Return whether the class names are 0, 1, 2, ... in another order, such as that of text:
    0, 1, 10, 11, 2, ...
    """
    numbers = tuple(map(str, range(len(names))))
    return names != numbers and set(names) == set(numbers)


def refuse_wrong_labels(images: ImageSet, name: str) -> None:
    """Raise ValueError, beginning with `name`, if a label is not the number of a class."""
    low, high = int(images.labels.min()), int(images.labels.max())
    if low < 0 or high >= len(images.classes):
        raise ValueError(
            f"{name}: labels run from {low} to {high}, outside 0 to {len(images.classes) - 1}: "
            "correct them, or the class names"
        )


def refuse_bad_names(classes: tuple[str, ...], name: str) -> None:
    """Raise ValueError, beginning with `name`, for fewer than two classes or a repeated name."""
    if len(classes) < 2:
        raise ValueError(f"{name}: one class only ({classes[0]!r}), a classifier needs two or more")
    if len(set(classes)) < len(classes):
        raise ValueError(
            f"{name}: class names are given twice ({', '.join(classes)}): give each class its own"
        )
