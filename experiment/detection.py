"""Scores the images of a finished run with detectors, and adds the results to its record."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from detectors import Detector, FitData, NotApplicable, SetOutputs
from detectors.contract import required
from utils import plugins, runtime, versions
from utils.failures import misclassification_metrics

from . import records
from .finished import FinishedRun
from .folder import delete_temporary_files
from .lock import locked
from .scoring import score_metrics


def constants_of(detector: Detector) -> dict[str, float | str]:
    """Return all constants of a detector for its entry in the record, defaults included."""
    parameters = inspect.signature(detector.fit).parameters
    return {option: parameters[option].default for option in detector.options}


def score(
    run: FinishedRun,
    detectors: Mapping[str, Detector],
    fit_data: FitData,
    sets: Mapping[str, SetOutputs],
) -> dict[str, dict[str, Any]]:
    """Return each detector's entry for the record."""
    environment = runtime.environment(run.device)
    entries = {}
    for name, detector in detectors.items():
        entry: dict[str, Any] = {"title": detector.title, "version": versions.of(name)}
        if plugin := plugins.of(detector.fit):
            entry["plugin"] = plugin
        try:
            with runtime.autocast(run.device, run.precision):
                results = measure(detector, fit_data, sets)
        except NotApplicable as error:
            entries[name] = entry | {"not_applicable": str(error)}
            continue
        if constants := constants_of(detector):
            entry["constants"] = constants
        entries[name] = entry | results | {"environment": environment}
    return entries


def measure(
    detector: Detector, fit_data: FitData, sets: Mapping[str, SetOutputs]
) -> dict[str, Any]:
    """Fit a detector. Return its `parameters`, its `misclassification` metrics on the test images,
    and its metrics on each out-of-distribution set.

    Raises NotApplicable if the detector does not apply to this network or head, ValueError for
    scores that are NaN or infinite or not one for each image, and for changed outputs.
    """
    if isinstance(fit_data.network, nn.Module):
        fit_data.network.eval()  # a detector before may have left it in another mode
    known = [*sets.values(), fit_data.calibration, *([fit_data.train] if fit_data.train else [])]
    before = _versions(known)
    if "head" in detector.all_needs:
        head = required(fit_data.head, "the network's head")
        if reason := detector.refuses(head):
            raise NotApplicable(reason)
    fitted = detector.fit(fit_data)
    scores = {name: fitted(outputs) for name, outputs in sets.items()}
    if _versions(known) != before:
        raise ValueError(
            f"{detector.title} changes the network's outputs, which other detectors need: let it "
            "work on copies"
        )
    for name, values in scores.items():
        needed = len(sets[name].outputs["logits"])
        if not isinstance(values, Tensor) or values.shape != (needed,):
            found = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"{detector.title} needs a score for each of the {needed} images of {name}, a "
                f"tensor [{needed}], got {found}"
            )
        if count := int((~values.isfinite()).sum()):
            raise ValueError(
                f"{detector.title} has no finite score for {count} of {len(values)} images of "
                f"{name}: look at their logits and features"
            )
    in_scores = scores.pop("test")
    test = sets["test"]
    wrong = test.outputs["logits"].argmax(1) != required(test.labels, "the test labels")
    return {
        "parameters": dict(fitted.parameters),
        "misclassification": misclassification_metrics(in_scores, wrong),
        "sets": {
            source: score_metrics(in_scores, wrong, values) for source, values in scores.items()
        },
    }


def _versions(sets: Iterable[SetOutputs]) -> list[int]:
    """Return how often each output was changed in place. Changes through NumPy do not count."""
    return [tensor._version for images in sets for tensor in images.outputs.values()]


def add(run: FinishedRun, entries: dict[str, dict[str, Any]]) -> None:
    """Write the entries into the run's record.

    Raises ValueError if the folder holds another run by now.
    """
    records.refuse_another(run.folder, run.record)  # before locking, which makes the folder
    with locked(run.folder, wait=60):
        # Another process may have added entries meanwhile.
        record = records.refuse_another(run.folder, run.record)
        delete_temporary_files(run.folder)
        record["detectors"] = record.get("detectors", {}) | entries
        records.write_record(run.folder / records.METRICS, record)
