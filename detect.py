#!/usr/bin/env python3
"""Adds detectors that need no training to finished runs: their scores' metrics go into each run's
record.
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import copy
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import tyro
from tabulate import tabulate
from torch import Tensor, nn

from data.batches import Normalizer, plain_batches
from data.streaming import ImageSet
from detectors import DETECTORS, Detector, FitData, NotApplicable, SetOutputs, get_detector
from detectors.odin import TEMPERATURE
from experiment import predictions, records, search
from experiment.config import RunConfig
from experiment.data import Data, load_data, refuse_other_training_data
from experiment.evaluation import EVALUATION_BATCH, predict
from experiment.folder import delete_temporary_files
from experiment.lock import locked
from experiment.network import load_network
from experiment.titles import as_suffix, with_unique_titles
from utils import interruption, program, runtime, versions
from utils.metrics import detection_metrics
from utils.output import print_line

# The options that are constants of detectors.
CONSTANTS = {"odin": ("epsilon", "temperature"), "preprocessing": ("epsilon",)}


@dataclass(frozen=True)
class Options:
    """Score the images of finished runs with detectors that need no training, and add the results
    to the runs' records.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders above them."""
    scores: tuple[str, ...] = ()
    """Which detectors; by default all for which a run has kept enough."""
    epsilon: float | Literal["chosen"] | None = None
    """The perturbation of odin and preprocessing, in pixels of [0, 1], or "chosen": chosen on
    in-distribution images. By default 0.0014 for odin, and chosen for preprocessing."""
    temperature: float = TEMPERATURE
    """Of odin."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    data_dir: Path = Path("data/downloads")
    """Where prepare-cifar.sh put the data."""

    def check(self) -> None:
        """Raises ValueError for a number that cannot be."""
        if isinstance(self.epsilon, float) and not 0 <= self.epsilon < 1:
            raise ValueError(
                f"--epsilon is in pixels, 0 or more and less than 1, got {self.epsilon}"
            )
        if not 1e-3 <= self.temperature <= 1e6:
            raise ValueError(
                f"--temperature is a number in 0.001 to 1,000,000, got {self.temperature}"
            )
        for option, given in {
            "epsilon": self.epsilon is not None,
            "temperature": self.temperature != TEMPERATURE,
        }.items():
            if (
                given
                and self.scores
                and not any(option in CONSTANTS.get(name, ()) for name in self.scores)
            ):
                raise ValueError(
                    f"--{option} is no constant of {', '.join(self.scores)}: leave it out"
                )

    def detectors(self) -> dict[str, Detector]:
        """The chosen rows of the table, with the constants given.

        Raises ValueError for an unknown name.
        """
        chosen = {name: get_detector(name) for name in self.scores or DETECTORS}
        given = {
            name: {each: getattr(self, each) for each in CONSTANTS.get(name, ())} for name in chosen
        }
        return {
            name: with_constants(row, given[name]) if given[name] else row
            for name, row in chosen.items()
        }


def with_constants(row: Detector, given: Mapping[str, float | str | None]) -> Detector:
    """The row with these constants, the default for None.

    Its title names what is not the default.
    """
    usual = inspect.signature(row.fit).parameters
    given = {name: value or 0.0 for name, value in given.items() if value is not None}  # not -0.0
    changed = {name: value for name, value in given.items() if value != usual[name].default}
    return replace(row, title=row.title + as_suffix(changed), fit=partial(row.fit, **changed))


def constants_of(name: str, row: Detector) -> dict[str, float | str]:
    """The constants of this row, defaults included: its entry in the record keeps them."""
    taken = inspect.signature(row.fit).parameters
    return {each: taken[each].default for each in CONSTANTS.get(name, ())}


class Finished:
    """A finished run: its record and outputs; its network and images are loaded when needed."""

    def __init__(self, folder: Path, device: torch.device, data_dir: Path):
        self.folder, self.device = folder, device
        self.record = records.read_record(folder / records.METRICS)
        self.has_network = (folder / records.MODEL).exists()
        if self.has_network:  # else it may be an ensemble, whose configuration is none of main.py's
            self.config = replace(RunConfig.from_json(self.record["config"]), data_dir=data_dir)

    @cached_property
    def kept(self) -> dict[str, dict[str, Any]]:
        """What the run was judged by: set → output → array."""
        return predictions.predictions_of(self.folder, self.record)

    def able(self, detectors: dict[str, Detector], named: bool) -> dict[str, Detector]:
        """The detectors for which this run has kept enough.

        Raises ValueError for others if they were asked for by name.
        """
        wanting = [
            name
            for name, row in detectors.items()
            if row.needs != "logits" and not self.has_network
        ]
        if wanting and named:
            able = ", ".join(name for name, row in DETECTORS.items() if row.needs == "logits")
            raise ValueError(
                f"{self.folder} keeps neither features nor a network, which {', '.join(wanting)} "
                f"need: take {able}"
            )
        return {name: row for name, row in detectors.items() if name not in wanting}

    def network(self) -> nn.Module:
        """The trained network at temperature 1, at which the detectors are defined."""
        network = load_network(self.folder, self.device)
        network.classifier.temperature.fill_(1)
        return network

    def known(self, detectors: dict[str, Detector]) -> tuple[FitData, dict[str, SetOutputs]]:
        """What detectors are fitted to, and the parts they are to score: the test set and the
        out-of-distribution sets.
        """
        needs, network, head = {row.needs for row in detectors.values()}, None, None
        mean, std = (), ()  # which only detectors of the network need
        if needs - {"logits"}:
            network = self.network()
            head = copy.deepcopy(network.classifier).cpu()
        if "network" in needs or (
            "features" in needs and "features" not in self.kept.get("train", {})
        ):
            self._refuse_other_images()
            data = load_data(self.config)
            refuse_other_training_data(data, self.record)
            parts, mean, std = self._seen(network, data), data.mean, data.std
        else:
            kept = {
                name: {key: torch.as_tensor(value) for key, value in part.items()}
                for name, part in self.kept.items()
            }
            parts = {
                name: SetOutputs(part, _no_images, part.get("labels"))
                for name, part in kept.items()
            }
        deciding = parts[self.record["temperature"]["split"]]
        scored = {name: parts[name] for name in ("test", *self.record["detection"])}
        return FitData(network, head, parts.get("train"), deciding, std, mean), scored

    def _refuse_other_images(self) -> None:
        """Raises ValueError if this version prepares images in another way than the run did."""
        if reasons := versions.other_images(self.record["config"]):
            raise ValueError(
                f"its images are prepared in another way now ({'; '.join(reasons)}): make the run "
                "again"
            )

    def _seen(self, network: nn.Module, data: Data) -> dict[str, SetOutputs]:
        """The network's outputs for all images.

        Raises ValueError if they are not those that the run was judged by.
        """
        normalize = Normalizer(data.mean, data.std, self.device)
        sets: dict[str, ImageSet] = {"train": data.train, **data.evaluation}
        sets |= {source: part for source, (_, part) in data.ood.items()}
        parts = {}
        for name, images in sets.items():
            batches = partial(plain_batches, images, normalize, EVALUATION_BATCH, self.device)
            outputs = predict(
                network, batches(), runtime.autocast(self.device, self.config.precision)
            )
            self._compare(name, outputs["logits"])
            parts[name] = SetOutputs(outputs, batches, images.labels)
        return parts

    def _compare(self, name: str, logits: Tensor) -> None:
        if name not in self.kept:  # the training images
            return
        before = torch.as_tensor(self.kept[name]["logits"])
        if (
            before.shape != logits.shape
            or (before.argmax(1) == logits.argmax(1)).float().mean() < 0.97
        ):  # rounding moves few
            raise ValueError(
                f"{self.folder}: the network's outputs for {name} are not those that the run "
                "kept: the data in --data-dir "
                "has changed, or model.pt has"
            )


def _no_images() -> NoReturn:
    raise RuntimeError("a detector of logits or features asked for images")


def refuse_unknown(title: str, values: Mapping[str, torch.Tensor]) -> None:
    """Raises ValueError, naming the set, for scores that are NaN or infinite."""
    for name, scores in values.items():
        if bad := int((~scores.isfinite()).sum()):
            count = f"{bad} of {len(scores)} images"
            raise ValueError(
                f"{title} has no finite score for {count} of {name}: look at their logits and "
                "features"
            )


def scored(run: Finished, detectors: dict[str, Detector]) -> dict[str, dict[str, Any]]:
    """Each detector's entry for the record: its metrics on every out-of-distribution set, or why it
    does not apply.
    """
    known, parts = run.known(detectors)
    entries, environment = {}, runtime.environment(run.device)
    for name, row in detectors.items():
        entry: dict[str, Any] = {"title": row.title, "version": versions.of(name)}
        try:
            if known.head is not None and (reason := row.refuses(known.head)):
                raise NotApplicable(reason)
            with runtime.autocast(run.device, run.config.precision if run.has_network else "fp32"):
                fitted = row.fit(known)
                values = {part: fitted(seen) for part, seen in parts.items()}
        except NotApplicable as error:
            entries[name] = entry | {"not_applicable": str(error)}
            continue
        refuse_unknown(row.title, values)
        inside = values.pop("test")
        sets = {source: detection_metrics(inside, outside) for source, outside in values.items()}
        if constants := constants_of(name, row):
            entry["constants"] = constants
        entries[name] = entry | {
            "parameters": dict(fitted.parameters),
            "sets": sets,
            "environment": environment,
        }
    return entries


def summary(run: Finished, entries: dict[str, dict[str, Any]]) -> str:
    """The AUROCs in a table, and why some detectors have none."""
    found, reasons = with_unique_titles([run.record])[0]["detection"], ""
    rows = []
    for entry in entries.values():
        if "sets" in entry:
            rows.append(
                [
                    entry["title"],
                    *(f"{100 * entry['sets'][source]['auroc']:.1f}" for source in found),
                ]
            )
        else:
            rows.append([entry["title"], *("n/a" for _ in found)])
            reasons += f"\n{entry['title']}: n/a, {entry['not_applicable']}"
    return (
        tabulate(
            rows,
            ["AUROC %, at T = 1", *(each["title"] for each in found.values())],
            disable_numparse=True,
        )
        + reasons
    )


def add(run: Finished, entries: dict[str, dict[str, Any]]) -> None:
    """Write the entries into the run's record.

    Raises ValueError if its folder holds another run by now.
    """
    records.refuse_another(run.folder, run.record)  # first of all, since a lock makes the folder
    with locked(run.folder, wait=60):
        # Another process may have added to it meanwhile.
        record = records.refuse_another(run.folder, run.record)
        delete_temporary_files(run.folder)
        record["detectors"] = record.get("detectors", {}) | entries
        records.write_json(run.folder / records.METRICS, record)


def perform(options: Options) -> None:
    """Check everything, then score run by run.

    Raises ValueError or an OSError for what cannot be.
    """
    options.check()
    detectors, device = options.detectors(), runtime.find_device(options.device)
    folders = search.run_folders(options.runs)
    found = [Finished(folder, device, options.data_dir) for folder in folders]
    runs = [(run, run.able(detectors, named=bool(options.scores))) for run in found]
    del found
    runtime.make_repeatable()
    while runs:
        run, able = runs.pop(0)  # which frees what it read, once it is done
        try:
            entries = scored(run, able)
        except (ValueError, torch.linalg.LinAlgError) as error:
            raise ValueError(f"{run.folder}: {error}") from error
        add(run, entries)
        print_line(f"\n{run.folder}\n\n{summary(run, entries)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "detect.py", arguments)), "what was scored is kept"
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
