#!/usr/bin/env python3
"""Adds the results of detectors that need no training to the records of finished runs."""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from tabulate import tabulate

from detectors import DETECTORS, Detector, get_detector
from detectors.odin import TEMPERATURE
from dismax.score import OWN, check_deployable
from experiment import search
from experiment.deployment import deploy
from experiment.detection import add, score
from experiment.finished import FinishedRun
from experiment.titles import as_suffix, with_unique_titles
from utils import program, runtime
from utils.output import print_line
from utils.plugins import WithPlugins


@dataclass(frozen=True)
class Options(WithPlugins):
    """Score the images of finished runs with detectors that need no training, and add the results
    to the runs' records.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or folders above them."""
    scores: tuple[str, ...] = ()
    """Detectors, also pytorch_ood:NAME. Default: all of ours that apply; with --deploy, none."""
    deploy: tuple[str, ...] = ()
    """Detectors to fit and to put into the run's model.pt with their thresholds, for predict.py
    --score and `Detector.load`. They need logits or features only; "own" is the head's score."""
    epsilon: float | Literal["chosen"] | None = None
    """The size of the perturbation of odin and preprocessing, for pixels in [0, 1]; "chosen": it is
    chosen on in-distribution images. By default 0.0014 for odin, and chosen for preprocessing."""
    temperature: float = TEMPERATURE
    """The temperature of odin."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:N or mps."""
    data_dir: Path = Path("data/downloads")
    """Where prepare-cifar.sh put the data."""

    def check(self) -> None:
        """Raises ValueError for a number out of range, or a constant of no chosen detector."""
        if isinstance(self.epsilon, float) and not 0 <= self.epsilon < 1:
            raise ValueError(
                f"--epsilon is for pixels in [0, 1]: 0 or more and below 1, got {self.epsilon}"
            )
        for name in (*self.scores, *self.deploy):
            if name not in (*DETECTORS, OWN) and Path(name).is_dir():
                raise ValueError(
                    f"{name} is a folder, and here it would be the name of a detector: write the "
                    "folders before --scores and --deploy"
                )
        for name in self.deploy:
            check_deployable(name)
        if not 1e-3 <= self.temperature <= 1e6:
            raise ValueError(
                f"--temperature is a number in 0.001 to 1,000,000, got {self.temperature}"
            )
        if self.epsilon is not None:
            self._check_used("epsilon")
        if self.temperature != TEMPERATURE:
            self._check_used("temperature")

    def _check_used(self, option: str) -> None:
        fitted = self.scores or self.deploy  # without both, all detectors
        if fitted and not any(option in get_detector(name).options for name in self.scores):
            raise ValueError(f"--{option} is no constant of {', '.join(fitted)}: leave it out")

    def detectors(self) -> dict[str, Detector]:
        """Return the chosen rows of the table of detectors, with the constants of the options.

        Raises ValueError for an unknown name.
        """
        detectors = {}
        for name in self.scores or DETECTORS:
            detector = get_detector(name)
            constants: dict[str, float | str | None]
            constants = {option: getattr(self, option) for option in detector.options}
            detectors[name] = with_constants(detector, constants)
        return detectors


def with_constants(detector: Detector, constants: Mapping[str, float | str | None]) -> Detector:
    """Return the detector with these constants; None stands for the default.

    Its title names the constants that are not the defaults.
    """
    parameters = inspect.signature(detector.fit).parameters
    changed = {
        name: value or 0.0  # 0.0 for -0.0
        for name, value in constants.items()
        if value is not None and value != parameters[name].default
    }
    title = detector.title + as_suffix(changed)
    return replace(detector, title=title, fit=partial(detector.fit, **changed))


def applicable(
    run: FinishedRun, detectors: dict[str, Detector], required: bool
) -> dict[str, Detector]:
    """Return the detectors for which the run has saved enough.

    Raises ValueError if they are `required` and none is left. A warning names those that are not.
    """
    if run.has_network:
        return detectors
    kept = {"logits", "features"} if run.has_features else {"logits"}
    lacking = [name for name, detector in detectors.items() if detector.needs not in kept]
    if lacking and required:
        choices = [name for name, detector in DETECTORS.items() if detector.needs in kept]
        missing = "no network" if run.has_features else "neither features nor a network"
        message = f"{run.folder} keeps {missing}, which is needed for {', '.join(lacking)}"
        if len(lacking) == len(detectors):
            raise ValueError(f"{message}: take {', '.join(choices)}")
        print_line(f"warning: {message}: left out", sys.stderr)
    return {name: detector for name, detector in detectors.items() if name not in lacking}


def summary(run: FinishedRun, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table of AUROCs, and a line for each detector that does not apply."""
    sets = with_unique_titles([run.record])[0]["detection"]
    rows = []
    reasons = ""
    for entry in entries.values():
        if "sets" in entry:
            cells = [f"{100 * entry['sets'][source]['auroc']:.1f}" for source in sets]
        else:
            cells = ["n/a"] * len(sets)
            reasons += f"\n{entry['title']}: n/a, {entry['not_applicable']}"
        rows.append([entry["title"], *cells])
    headers = ["AUROC %, at T = 1", *(detection["title"] for detection in sets.values())]
    return tabulate(rows, headers, disable_numparse=True) + reasons


def perform(options: Options) -> None:
    """Check everything, then score run by run.

    Raises ValueError or an OSError for bad input.
    """
    options.check()
    detectors = options.detectors() if options.scores or not options.deploy else {}
    device = runtime.find_device(options.device)
    folders = search.run_folders(options.runs)
    runs = [FinishedRun(folder, device, options.data_dir) for folder in folders]
    for run in runs:
        if options.deploy and not run.has_network:
            raise ValueError(f"{run.folder} has no network, so nothing can be deployed there")
    chosen = [applicable(run, detectors, required=bool(options.scores)) for run in runs]
    runtime.make_repeatable()
    for run_detectors in chosen:
        run = runs.pop(0)  # the memory of its outputs is freed after its turn
        try:
            needs = {"features"} if options.deploy else set()
            needs = needs.union(*(detector.all_needs for detector in run_detectors.values()))
            fit_data, sets = run.outputs(needs)
            entries = score(run, run_detectors, fit_data, sets)
            deployed = deploy(run, options.deploy, fit_data, sets) if options.deploy else ""
        except (ValueError, torch.linalg.LinAlgError) as error:
            raise ValueError(f"{run.folder}: {error}") from error
        if entries:
            add(run, entries)
        parts = [summary(run, entries) if entries else "", deployed]
        print_line("\n\n".join((f"\n{run.folder}", *filter(None, parts))))


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted."""
    return program.exit_status(
        lambda: perform(program.read(Options, "detect.py", arguments)), "what was scored is kept"
    )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main())
