#!/usr/bin/env python3
"""Makes a Deep Ensemble (Lakshminarayanan et al. 2017, arXiv 1612.01474) of finished runs.

It needs the runs' records and predictions alone. Its probabilities are the mean of the members'
at temperature 1. Its logits are their logarithm: like any run it is calibrated, after averaging,
and scored. Its score is MPS.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from torch import Tensor

from experiment import predictions, records, search
from experiment.config import identity_of
from experiment.external import OutputsBySet
from experiment.folder import is_finished
from experiment.outputs import record_outputs
from losses.scores import SCORES
from utils import program
from utils.files import open_regular
from utils.output import print_line
from utils.plugins import WithPlugins

SCORES_OF_PROBABILITIES = ("MPS", "ES")  # the scores that need nothing but probabilities
Member = tuple[Path, dict[str, Any]]  # a run's folder and its record


@dataclass(frozen=True)
class Options(WithPlugins):
    """Average the probabilities of finished runs that differ only in their seed, and record the
    ensemble as a run of its own.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders above them, such as runs/cifar10/wideresnet2810/softmax."""
    members: tuple[int, ...] = ()
    """Seeds of the runs to take; all by default."""


def mean_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Return the log of the members' mean probability [N, C].

    Args:
        logits: each member's logits [N, C] at temperature 1.
    """
    log_probabilities = torch.stack([member.double().log_softmax(1) for member in logits])
    return log_probabilities.logsumexp(0) - math.log(len(logits))


def all_scores(outputs: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """Return the scores [N] of named outputs by name, as the `all_scores` of a head does."""
    return {name: SCORES[name](outputs["logits"] / temperature) for name in SCORES_OF_PROBABILITIES}


def find_members(options: Options) -> list[Member]:
    """Return the members' folders and records, by seed.

    Raises ValueError if they differ in more than the seed, or if one that is asked for is missing.
    """
    members = []
    for folder in search.run_folders(options.runs):
        record = records.read_record(folder / records.METRICS)
        if not options.members or record["config"]["seed"] in options.members:
            members.append((folder, record))
    seeds = [record["config"]["seed"] for _, record in members]
    if missing := sorted(set(options.members) - set(seeds)):
        raise ValueError(
            f"no finished run with seed {', '.join(map(str, missing))} in "
            f"{', '.join(map(str, options.runs))}"
        )
    first_folder, first = members[0]
    if "members" in first:
        raise ValueError(f"{first_folder} is an ensemble itself: name the folder of its members")
    for folder, record in members[1:]:
        if differences := _differences(first["config"], record["config"]):
            raise ValueError(
                f"members differ in nothing but the seed; {first_folder} and {folder} have "
                f"{'; '.join(differences)}"
            )
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are given twice among the members: {', '.join(map(str, seeds))}")
    return sorted(members, key=lambda member: member[1]["config"]["seed"])


def _differences(config: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return what two configurations differ in, without the seed and its outputs, as text."""
    first, second = identity_of(config), identity_of(other)
    return [
        f"{name} {first.get(name)!r} and {second.get(name)!r}"
        for name in first | second
        if name not in ("seed", "outputs") and first.get(name) != second.get(name)
    ]


def average(members: Sequence[Member]) -> tuple[OutputsBySet, dict[str, Tensor]]:
    """Return the ensemble's named outputs of each set, and the labels of the sets that have some.

    Raises ValueError if the members were evaluated on different images.
    """
    members_outputs = [predictions.predictions_of(folder, record) for folder, record in members]
    first, (first_folder, first_record) = members_outputs[0], members[0]
    names = [name for name in first if name != "train"]
    for (folder, record), other in zip(members, members_outputs, strict=True):
        prints = [each.get("fingerprints", {}) for each in (first_record, record)]
        for name in names:
            if name not in other or not _same_images(first[name], other[name]):
                raise ValueError(
                    f"{folder} was evaluated on other images of {name} than {first_folder}: make "
                    "it again"
                )
            # Records of earlier versions, and of evaluate.py, have no fingerprints.
            if len({each[name] for each in prints if name in each}) > 1:
                print_line(
                    f"warning: {folder} had other pixels of {name} than {first_folder} (resizing "
                    "also rounds differently on other processors)",
                    sys.stderr,
                )
    outputs = {}
    for name in names:
        logits = [torch.as_tensor(member[name]["logits"]) for member in members_outputs]
        outputs[name] = {"logits": mean_log_probabilities(logits).float()}
    labels = {
        name: torch.as_tensor(first[name]["labels"]) for name in names if "labels" in first[name]
    }
    return outputs, labels


def _same_images(first: Mapping[str, NDArray], second: Mapping[str, NDArray]) -> bool:
    """Return whether two runs' outputs of a set may be of the same images: shapes and labels."""
    return first["logits"].shape == second["logits"].shape and np.array_equal(
        first.get("labels", ()), second.get("labels", ())
    )


def _sizes(members: Sequence[Member]) -> dict[str, int]:
    """Return the numbers of training images and of all parameters, where the records have them.

    Those of evaluate.py have none.
    """
    first = members[0][1]
    if not {"train_images", "parameters"} <= first.keys():
        return {}
    parameters = sum(record["parameters"] for _, record in members)
    return {"train_images": first["train_images"], "parameters": parameters}


def _digest(path: Path) -> str | None:
    """Return the SHA-256 of a member's predictions; None if they were deleted."""
    if not path.exists():
        return None
    with open_regular(path) as file:
        return hashlib.sha256(file.read()).hexdigest()


def perform(options: Options) -> str:
    """Record the ensemble. Return the message about it."""
    members = find_members(options)
    first_folder, first = members[0]
    loss = first["config"]["loss"]
    name, title = "ensemble", "Deep Ensemble"
    if loss != "softmax":
        name, title = f"ensemble_{loss}", f"Deep Ensemble, {first['titles']['loss']}"
    seeds = [str(record["config"]["seed"]) for _, record in members]
    place = first_folder.resolve()
    if place.parts[-2:] != (loss, seeds[0]):
        raise ValueError(
            f"{place} is not called {loss}/{seeds[0]}, so the ensemble has no place beside "
            f"{loss}: rename it"
        )
    config = first["config"] | {"loss": name, "seed": "+".join(seeds)}
    folder = place.parent.parent / name / config["seed"]
    made_of = [_digest(member / records.PREDICTIONS) for member, _ in members]
    if is_finished(folder, identity_of(config)):
        # Records of earlier versions do not have it.
        before = records.read_record(folder / records.METRICS).get("made_of", made_of)
        if any(now not in (None, then) for now, then in zip(made_of, before, strict=True)):
            raise ValueError(
                f"{folder} is finished, but its members were made again since: delete it"
            )
        return f"{folder} is finished: skipped"
    outputs, labels = average(members)
    for member, record in members:
        # The record was read before the outputs: both must be of the same run.
        records.refuse_another(member, record)
    about = {
        **_sizes(members),
        "config": config,
        "members": [record["config"]["seed"] for _, record in members],
        "made_of": made_of,
        "titles": first["titles"] | {"loss": title},
        "recipe": first["recipe"],
        "score": "MPS",
        "scores_at": first["scores_at"],
    }
    roles = {source: entry["role"] for source, entry in first["detection"].items()}
    split = first["temperature"]["split"]
    accuracy = record_outputs(folder, about, all_scores, outputs, labels, roles, split)
    return (
        f"{title} of {len(seeds)} (seeds {', '.join(seeds)}): accuracy {accuracy:.2%}\n"
        f"written to {folder}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: print_line(perform(program.read(Options, "ensemble.py", arguments))),
        "nothing was written",
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
