"""Computes a finished run's record, and writes its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from data import fingerprint
from dismax import saved
from dismax.score import DeployedScore
from experiment import lock, records, weights
from experiment.evaluation import evaluation_results
from experiment.folder import delete_checkpoints
from experiment.predictions import write_predictions
from utils import plugins, runtime

from .session import Session

OutputsBySet = Mapping[str, Mapping[str, Tensor]]  # split or source → output → values


def make_record(
    session: Session, outputs: OutputsBySet, temperature: dict[str, Any], started: str
) -> dict[str, Any]:
    """The content of metrics.json, except the seconds of the evaluation.

    Args:
        session: the finished training. Its network is calibrated.
        outputs: the network's outputs for every split and out-of-distribution set.
        temperature: the fitted temperature, from `temperature_results`.
        started: when the run started, in ISO format.
    """
    run = session.run
    config, data, head = run.config, run.data, run.model.classifier
    split = data.calibration_split
    roles = {source: role for source, (role, _) in data.ood.items()}
    return {
        "format": records.FORMAT,
        "config": config.as_json(),
        "titles": run.titles,
        "recipe": config.training.as_record(run.trainer.epoch),
        "score": head.score_type,
        "scores_at": "t1" if config.protocol == "paper" else "calibrated",
        "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        "train_images": len(data.train),
        "fingerprints": _fingerprints(session),
        "notes": list(data.notes),
        "plugins": plugins.LOADED,
        "body_sha256": weights.fingerprint(run.model.body),
        "best": {
            "epoch": session.best["epoch"],
            "accuracy": session.best["accuracy"],
            "split": split,
        },
        "temperature": temperature | {"split": split},
        **evaluation_results(head.all_scores, outputs, data.labels, roles, temperature["value"]),
        "started": started,
        "seconds": {"training": round(session.seconds, 1)},
        "environment": runtime.environment(run.device) | {"processes": run.world.size},
    }


def _fingerprints(session: Session) -> dict[str, str]:
    """Split or source → fingerprint, for all images of the run.

    "--weights" has that of the weights that the run began with, if they were not random. No data
    set has this name.
    """
    others = {
        name: fingerprint.of(images)
        for name, images in session.run.data.evaluation_sets.items()
        if name not in session.fingerprints
    }
    began_with = {"--weights": session.began_with} if session.began_with else {}
    return session.fingerprints | others | began_with


def write_results(
    session: Session, record: dict[str, Any], outputs: OutputsBySet, scores: Sequence[DeployedScore]
) -> None:
    """Write predictions.npz, model.pt and, last of all, metrics.json. Delete the checkpoints.

    Raises OSError if the folder is no longer this run's, or cannot be written to.
    """
    run = session.run
    config, data, folder = run.config, run.data, run.config.folder
    labels = data.labels
    if "train" in outputs:
        labels["train"] = data.train.labels
    lock.check(folder)
    write_predictions(folder, outputs, labels, config.keep_features)
    saved.save_network(
        folder / records.MODEL,
        run.model,
        config.as_json(),
        data.train.classes,
        data.train.size,
        data.mean,
        data.std,
        data.entry.margin,
        scores,
        data.grey,
    )
    records.write_record(folder / records.METRICS, record)
    delete_checkpoints(folder)


def summary(record: dict[str, Any]) -> str:
    """A run's results in a few lines."""
    at, score = record["scores_at"], record["score"]
    test, temperature = record["classification"]["test"], record["temperature"]
    aurocs = [
        f"{detection['title']} {detection['scores'][at][score]['auroc']:.1%}"
        for detection in record["detection"].values()
    ]
    lines = [
        f"accuracy {test['t1']['accuracy']:.2%} (epoch {record['best']['epoch']}), "
        f"ECE {test['t1']['ece']:.4f} -> {test['calibrated']['ece']:.4f} "
        f"at T = {temperature['value']:.3g}",
        f"AUROC [{score}, {'T = 1' if at == 't1' else 'fitted T'}]: {', '.join(aurocs)}",
    ]
    return "\n".join(lines + [f"warning: {warning}" for warning in temperature["warnings"]])
