"""A finished run: its record, and the outputs of its network for its images, saved or new."""

from __future__ import annotations

import copy
from collections.abc import Sequence, Set
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from data.batches import Normalizer, plain_batches
from data.images import EVALUATION_BATCH
from detectors import FitData, SetOutputs
from detectors.common import ROWS
from losses import LossFirstPart
from models import Network
from utils import runtime, versions

from . import weights
from .changes import changed_sets
from .config import RunConfig
from .data import Data, load_data
from .evaluation import predict
from .network import load_network
from .predictions import names_in, predictions_of
from .records import METRICS, MODEL, read_record

# At least this share of images must have the class that the run saved. Rounding changes a few.
SAME_CLASS = 0.97


@torch.no_grad()
def _logits(head: LossFirstPart, features: Tensor) -> Tensor:
    """Return the logits [N, C] of features [N, D], piece by piece: DUQ's head takes much memory."""
    return torch.cat([head.named_outputs(rows)["logits"] for rows in features.split(ROWS)])


class FinishedRun:
    """A finished run. An ensemble and outputs from elsewhere are runs without a network.

    Args:
        folder: the run's folder.
        device: where its network runs.
        data_dir: where the data sets were downloaded to.

    Raises ValueError if its record is damaged or of another version.
    """

    def __init__(self, folder: Path, device: torch.device, data_dir: Path):
        self.folder = folder
        self.device = device
        self.record = read_record(folder / METRICS)
        self.has_network = (folder / MODEL).exists()
        self.precision = "fp32"
        if self.has_network:  # main.py cannot read the configuration of an ensemble
            try:
                config = RunConfig.from_json(self.record["config"])
            except ValueError as error:
                raise ValueError(f"{folder / METRICS}: {error}") from error
            self.config = replace(config, data_dir=data_dir)
            self.precision = config.precision

    @cached_property
    def has_features(self) -> bool:
        """Whether the run has saved the features of all its sets, training images included."""
        sets = ("train", "test", self.record["temperature"]["split"], *self.record["detection"])
        return {f"{name}/features" for name in sets} <= names_in(self.folder)

    @cached_property
    def arrays(self) -> dict[str, dict[str, NDArray]]:
        """Set → output → array [N, ...], as saved in the run's predictions.npz.

        Raises ValueError if the file is missing, damaged or of another run.
        """
        return predictions_of(self.folder, self.record)

    def outputs(self, needs: Set[str]) -> tuple[FitData, dict[str, SetOutputs]]:
        """Return the data that detectors are fitted to, and the sets that they score.

        They score the test set and the out-of-distribution sets. Logits are read from the run's
        predictions.npz, and features too if the run saved them. Everything else is computed with
        the run's network and images.

        Args:
            needs: what the detectors need: "logits", "head", "features", "network".

        Raises ValueError if the images or the network are not those of the run.
        """
        network = head = None
        mean: Sequence[float] = ()
        std: Sequence[float] = ()
        if needs - {"logits"} and self.has_network:
            network = self.load_network()
            head = copy.deepcopy(network.classifier).cpu()
        infer = "network" in needs or ("features" in needs and not self.has_features)
        if network is not None and infer:
            data = self.load_data()
            mean, std = data.mean, data.std
            sets = self.infer(network, data)
        else:
            sets = self._saved_outputs()
            if head is not None and self.has_features:
                self._refuse_other_logits("test", _logits(head, sets["test"].outputs["features"]))
        split = self.record["temperature"]["split"]
        fit_data = FitData(network, head, sets.get("train"), sets[split], mean=mean, std=std)
        return fit_data, {name: sets[name] for name in ("test", *self.record["detection"])}

    def load_network(self) -> Network:
        """Return the trained network at temperature 1, for which the detectors are defined.

        Raises ValueError if the weights of its body are not those of the run.
        """
        network = load_network(self.folder, self.device)
        recorded = self.record.get("body_sha256")  # earlier versions wrote none
        if recorded is not None and recorded != weights.fingerprint(network.body):
            raise ValueError(
                f"{self.folder / MODEL} has other weights than the run's record says: restore it, "
                "or make the run again"
            )
        network.classifier.temperature.fill_(1)
        return network

    def load_data(self) -> Data:
        """Return the run's images.

        Raises ValueError if this version prepares images in another way than the run did, or if
        they have changed.
        """
        if reasons := versions.other_images(self.record["config"]):
            raise ValueError(
                f"its images are prepared in another way now ({'; '.join(reasons)}): make the run "
                "again"
            )
        data = load_data(self.config)
        if changed := changed_sets(self.record, data):
            raise ValueError(
                f"the images or labels of {', '.join(changed)} differ from those of the run: "
                "restore them, or make the run again"
            )
        return data

    def infer(self, network: Network, data: Data) -> dict[str, SetOutputs]:
        """Return the outputs of the training images, and of all sets that the run evaluates.

        Raises ValueError if they are not those that the run saved.
        """
        normalize = Normalizer(data.mean, data.std, self.device)
        sets = {}
        for name, images in {"train": data.train, **data.evaluation_sets}.items():
            batches = partial(plain_batches, images, normalize, EVALUATION_BATCH, self.device)
            outputs = predict(network, batches(), runtime.autocast(self.device, self.precision))
            self._refuse_other_logits(name, outputs["logits"])
            sets[name] = SetOutputs(outputs, batches, images.labels)
        return sets

    def _refuse_other_logits(self, name: str, logits: Tensor) -> None:
        """Raises ValueError if the logits [N, C] of a set are not those that the run saved."""
        if name not in self.arrays:  # runs save outputs for the training set only if asked to
            return
        saved = torch.as_tensor(self.arrays[name]["logits"])
        same_shape = saved.shape == logits.shape
        if same_shape and (saved.argmax(1) == logits.argmax(1)).float().mean() >= SAME_CLASS:
            return
        raise ValueError(
            f"{self.folder}: the network's outputs for {name} are not those that the run saved: "
            "the data in --data-dir has changed, or model.pt has"
        )

    def _saved_outputs(self) -> dict[str, SetOutputs]:
        """Return the outputs in the run's predictions.npz, without images."""
        sets = {}
        for name, arrays in self.arrays.items():
            outputs = {output: torch.as_tensor(values) for output, values in arrays.items()}
            sets[name] = SetOutputs(outputs, labels=outputs.pop("labels", None))
        return sets
