"""Measures the combined score on finished runs, beside its members and other combinations.

Usage: python -m results.combined_score.measure FILE.csv RUN...

For each set of images, FILE.csv gets the AUROC against the test images, and the share of images
that a threshold for 95 % of the held-out images accepts.
"""

import copy
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from data.catalog import title_of
from detectors import FitData, SetOutputs
from detectors.combined import Combined, LogP
from detectors.own import Own
from dismax.score import DeployedScore, fit_to_outputs
from experiment.deployment import TPR
from experiment.finished import FinishedRun
from experiment.titles import of_sources
from results.measuring import Row, network_of, write
from utils.metrics import detection_metrics

MORE_SETS = ("far=digits", "far=photos", "very_far=noise")  # for runs on CIFAR-10
PLUS = "mahalanobis_plus_plus"
OTHERS = (("own", "knn"), ("own", PLUS), ("own", "knn", "mahalanobis", PLUS))
COLUMNS = ("network", "epochs", "loss", "seed", "set", "score", "auroc", "accepted")


def outputs_of(run: FinishedRun) -> tuple[FitData, dict[str, SetOutputs]]:
    """Return the outputs of a run's network that scores are fitted to, and title → outputs of
    the test images ("test") and of each out-of-distribution set.
    """
    more = () if run.config.data == "digits" else MORE_SETS
    run.config = replace(run.config, ood=(*run.config.ood, *more))
    network, data = run.load_network(), run.load_data()
    sets = run.infer(network, data)
    head = copy.deepcopy(network.classifier).cpu()
    held_out = sets[data.calibration_split]
    fit_data = FitData(None, head, sets["train"], held_out, mean=data.mean, std=data.std)
    titles = of_sources({source: title_of(source) for source in data.ood})
    return fit_data, {"test": sets["test"]} | {titles[name]: sets[name] for name in data.ood}


def scores_of(data: FitData, temperature: float) -> dict[str, DeployedScore]:
    """Return the scores by name, fitted. KNN is the one in the combined score."""
    combined = fit_to_outputs("combined", data, temperature)
    members = {name: getattr(combined.score, name) for name in combined.score.names}
    plus = fit_to_outputs(PLUS, data, temperature)
    members[PLUS] = LogP(plus.score, plus.of(data.calibration.outputs, data.head))
    alone = {name: member.score for name, member in members.items()} | {"own": Own(temperature)}
    others = {
        " + ".join(names): Combined(**{name: members[name] for name in names}) for names in OTHERS
    }
    scores = {name: DeployedScore(name, score) for name, score in {**alone, **others}.items()}
    for score in scores.values():
        score.set_thresholds(data.calibration.outputs, data.head)
    return {**scores, "combined": combined}


def measure(folder: Path) -> Iterator[Row]:
    """Yield the rows of a run."""
    run = FinishedRun(folder, torch.device("cpu"), Path("data/downloads"))
    data, sets = outputs_of(run)
    test = sets.pop("test")
    about = network_of(run.record)
    for name, score in scores_of(data, run.record["temperature"]["value"]).items():
        in_scores = score.of(test.outputs, data.head)
        for title, images in {"test": test, **sets}.items():
            scores = in_scores if images is test else score.of(images.outputs, data.head)
            auroc = detection_metrics(in_scores, scores)["auroc"]
            accepted = (scores >= score.threshold(TPR)).double().mean().item()
            numbers = {"auroc": f"{auroc:.4f}", "accepted": f"{accepted:.4f}"}
            yield about | {"set": title, "score": name} | numbers


if __name__ == "__main__":
    path, *folders = sys.argv[1:]
    write(path, COLUMNS, measure, folders)
