"""Runs for the tests of tables and pages."""

import json

import numpy as np
import pytest

import ensemble
import main
from experiment import records, search
from reporting.outcomes import load_outcome
from tests.common import QUICK
from tests.reporting.tables import LOSSES, SETS


@pytest.fixture
def runs(tmp_path):
    """Records as main.py writes them, of made-up numbers: three seeds of two losses on CIFAR-10
    with DenseNet-BC-100.
    """
    rng = np.random.default_rng(0)
    written = []
    for loss in ("SoftMax", "DisMax without FPR"):
        for seed in (1, 2, 3):

            def metrics(_=None):
                return {
                    name: float(rng.uniform(0.9, 0.95))
                    for name in (
                        "auroc",
                        "aupr_in",
                        "aupr_out",
                        "tnr95",
                        "fpr95_in",
                        "fpr95_out",
                        "dtacc",
                    )
                }

            def scores():
                return {
                    at: {name: metrics() for name in ("MPS", "MMLES")}
                    for at in ("t1", "calibrated")
                }

            record = {
                "format": records.FORMAT,
                "config": {
                    "data": "cifar10",
                    "protocol": "paper",
                    "recipe": "paper",
                    "epochs": 300,
                    "batch_size": 64,
                    "seed": seed,
                }
                | {
                    "model": "densenetbc100",
                    "loss": loss,
                    "runs": "runs",
                    "precision": "fp32",
                    "limit_train": None,
                    "limit_eval": None,
                    "ood": [],
                },
                "titles": {"data": "CIFAR-10", "model": "DenseNet-BC-100", "loss": loss},
                "recipe": {},
                "parameters": 769_162,
                "train_images": 50_000,
                "score": "MPS" if loss == "SoftMax" else "MMLES",
                "scores_at": "t1",
                "temperature": {"value": 1.5, "split": "test"},
                "classification": {
                    "test": {"n": 10_000}
                    | {
                        at: {
                            "accuracy": float(rng.uniform(0.9, 0.95)),
                            "ece": 0.01 * rng.uniform(),
                            "nll": 0.3,
                            "brier": 0.1,
                        }
                        for at in ("t1", "calibrated")
                    }
                },
                "detection": {
                    source: {"title": title, "role": role, "n": 10_000, "scores": scores()}
                    for source, title, role in SETS
                },
            }
            path = tmp_path / loss / str(seed) / records.METRICS
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(record))
            written.append(record)
    return tmp_path, written


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder of finished runs: four losses, two seeds of SoftMax, and their ensemble."""
    root = tmp_path_factory.mktemp("finished") / "runs"
    for loss, seed in (*((loss, 1) for loss in LOSSES), ("softmax", 2)):
        options = [
            "--loss",
            loss,
            "--seed",
            str(seed),
            "--precision",
            "fp32",
            "--device",
            "cpu",
            "--runs",
            str(root),
            *QUICK,
        ]
        assert main.main(options) == 0
    assert ensemble.main([str(root / "digits" / "smallcnn" / "softmax")]) == 0
    return root


@pytest.fixture(scope="session")
def outcomes(finished):
    return [
        load_outcome(folder, record) for folder, record in search.find_records(finished)[0].items()
    ]
