#!/usr/bin/env python3
"""Makes a Deep Ensemble of finished runs (Lakshminarayanan et al. 2017, arXiv 1612.01474), from
what they kept.

Its probabilities are the mean of the members', which count at temperature 1; its logits are their
logarithm, so that it is calibrated, after averaging, and scored as any run is. Its score is MPS.
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from experiment import predictions, records, search
from experiment.config import identity_of
from experiment.evaluation import evaluation_results, temperature_results
from experiment.folder import is_finished, prepare
from experiment.lock import locked
from losses.scores import SCORES
from utils import interruption, program, runtime
from utils.output import print_line

OFFERED = ("MPS", "ES")  # the scores that are functions of probabilities


@dataclass(frozen=True)
class Options:
    """Average the probabilities of finished runs that differ only in their seed, and record the
    ensemble as a run of its own.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders above them, such as runs/cifar10/wideresnet2810/softmax."""
    members: tuple[int, ...] = ()
    """Seeds of the runs to take; all by default."""


def mean_log_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Log of the members' mean probability [N, C], from their logits [N, C] at temperature 1."""
    return torch.stack([each.double().log_softmax(1) for each in logits]).logsumexp(0) - math.log(
        len(logits)
    )


def all_scores(outputs: Mapping[str, Tensor], temperature: float) -> dict[str, Tensor]:
    """As a head's `all_scores`."""
    return {name: SCORES[name](outputs["logits"] / temperature) for name in OFFERED}


def find_members(options: Options) -> list[tuple[Path, dict[str, Any]]]:
    """The members' folders and records by seed.

    Raises ValueError if they are not runs of one kind, or not those asked for.
    """
    found = [
        (folder, records.read_record(folder / records.METRICS))
        for folder in search.run_folders(options.runs)
    ]
    wanted = [
        (folder, record)
        for folder, record in found
        if not options.members or record["config"]["seed"] in options.members
    ]
    seeds = [record["config"]["seed"] for _, record in wanted]
    if missing := sorted(set(options.members) - set(seeds)):
        raise ValueError(
            f"no finished run with seed {', '.join(map(str, missing))} in "
            f"{', '.join(map(str, options.runs))}"
        )
    first, held = wanted[0][0], identity_of(wanted[0][1]["config"])
    if "members" in wanted[0][1]:
        raise ValueError(f"{first} is an ensemble itself: name the folder of its members")
    for folder, record in wanted[1:]:
        other = identity_of(record["config"])
        names = [
            name for name in held | other if name != "seed" and held.get(name) != other.get(name)
        ]
        if differing := [f"{name} {held.get(name)!r} and {other.get(name)!r}" for name in names]:
            raise ValueError(
                f"members differ in nothing but the seed; {first} and {folder} have "
                f"{'; '.join(differing)}"
            )
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are given twice among the members: {', '.join(map(str, seeds))}")
    return sorted(wanted, key=lambda member: member[1]["config"]["seed"])


def average(
    members: Sequence[tuple[Path, dict[str, Any]]],
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
    """The ensemble's named outputs for each set, and the labels of those that have some.

    Raises ValueError if sets differ.
    """
    kept, folders = (
        [predictions.predictions_of(*member) for member in members],
        [folder for folder, _ in members],
    )
    names = [name for name in kept[0] if name != "train"]
    for folder, part in zip(folders, kept, strict=True):
        for name in names:
            same = name in part and part[name]["logits"].shape == kept[0][name]["logits"].shape
            if not (
                same
                and np.array_equal(part[name].get("labels", ()), kept[0][name].get("labels", ()))
            ):
                raise ValueError(
                    f"{folder} was judged by other images of {name} than {folders[0]}: make it "
                    "again"
                )
    logits = {name: [torch.as_tensor(part[name]["logits"]) for part in kept] for name in names}
    outputs = {
        name: {"logits": mean_log_probabilities(each).float()} for name, each in logits.items()
    }
    labels = {
        name: torch.as_tensor(kept[0][name]["labels"])
        for name in names
        if "labels" in kept[0][name]
    }
    return outputs, labels


def perform(options: Options) -> str:
    """Record the ensemble; what there is to say of it."""
    members = find_members(options)
    first, pattern = members[0]
    loss, seeds = pattern["config"]["loss"], [record["config"]["seed"] for _, record in members]
    name = "ensemble" if loss == "softmax" else f"ensemble_{loss}"
    config = pattern["config"] | {"loss": name, "seed": "+".join(map(str, seeds))}
    folder = first.resolve().parent.parent / name / config["seed"]
    if is_finished(folder, identity_of(config)):
        return f"{folder} is finished: skipped"
    outputs, labels = average(members)
    for member, held in members:  # the record and the outputs of a member shall be of one run
        records.refuse_another(member, held)
    deciding = pattern["temperature"]["split"]
    temperature = temperature_results(outputs[deciding]["logits"], labels[deciding])
    roles = {source: each["role"] for source, each in pattern["detection"].items()}
    title = "Deep Ensemble" if loss == "softmax" else f"Deep Ensemble, {pattern['titles']['loss']}"
    record = {key: pattern[key] for key in ("format", "recipe", "scores_at", "train_images")} | {
        "config": config,
        "members": seeds,
        "titles": pattern["titles"] | {"loss": title},
        "score": "MPS",
        "parameters": sum(record["parameters"] for _, record in members),
        "temperature": temperature | {"split": deciding},
        **evaluation_results(all_scores, outputs, labels, roles, temperature["value"]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": runtime.environment(torch.device("cpu")),
    }
    with locked(folder, wait=60):
        prepare(folder, config)
        predictions.write_predictions(folder, outputs, labels, with_features=False)
        records.write_json(folder / records.METRICS, record)
    accuracy = record["classification"]["test"]["t1"]["accuracy"]
    return (
        f"{title} of {len(seeds)} (seeds {', '.join(map(str, seeds))}): accuracy "
        f"{accuracy:.2%}\nwritten to {folder}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: print_line(perform(program.read(Options, "ensemble.py", arguments))),
        "nothing was written",
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
