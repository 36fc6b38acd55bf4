"""Mahalanobis over several layers, with weights found without OOD data (Lee et al. 2018, arXiv
1807.03888, section 3.2).

The paper's input pre-processing is left out, as in `mahalanobis.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .common import float64, wide
from .contract import FeatureNetwork, FitData, Fitted, NotApplicable, SetOutputs, required
from .mahalanobis import class_gaussians
from .perturbation import by_channel, perturbed

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

EPSILON = 0.05  # size of the attack and standard deviation of the noise, for pixels in [0, 1]
SEED = 0  # of the noise

Layers = list[Tensor]  # each layer's features [B, channels] of a batch


def fit_mahalanobis_layers(data: FitData) -> Fitted:
    """Return the detector whose score is wᵀ (M_1 … M_L) + b, with M_l the score of layer l.

    M_l is the Mahalanobis score. The sum is the log-odds that an image is clean and not attacked. A
    logistic regression finds w and b: it separates the clean images of the adversarial set from the
    attacked ones. `adversarial_layers` defines that set. ε is 0.05 for attack and noise. In Lee et
    al. the noise is smaller and tuned for each network, and noisy images count as clean ones too.

    The record gets the number of layers, ε, and the number of images in the adversarial set.

    Raises:
        ValueError: if the calibration images have no labels.
        NotApplicable: if the network is one of a library, whose layers are not known, or if the
            adversarial set has fewer images than the regression has parameters,
            L + 1.
    """
    required(data.calibration.labels, "labelled calibration images")
    network = required(data.network, "the network")
    if not getattr(network, "has_layers", True):
        raise NotApplicable("needs a network whose layers are known, as those of models/")
    train = required(data.train, "training images")
    labels = required(train.labels, "training labels")
    gaussians = [
        class_gaussians(float64(layer), labels) for layer in training_layers(network, train)
    ]

    def layer_scores(layers: Layers) -> np.ndarray:
        """Return the Mahalanobis scores [B, L] of a batch's layers."""
        pairs = zip(gaussians, layers, strict=True)
        return torch.stack(
            [gaussian.of(float64(layer)) for gaussian, layer in pairs], dim=1
        ).numpy()

    clean, attacked = [], []
    for clean_layers, attacked_layers in adversarial_layers(data):
        clean.append(layer_scores(clean_layers))
        attacked.append(layer_scores(attacked_layers))
    count = sum(map(len, clean))
    minimum = len(gaussians) + 1
    if count < minimum:
        raise NotApplicable(
            f"Mahalanobis over layers needs {minimum} or more calibration images that the network "
            "classifies correctly, with noise too, and wrongly after the attack; "
            f"got {count}: take another detector"
        )
    regression = _fit_regression(np.concatenate(clean), np.concatenate(attacked))

    @torch.no_grad()
    def score(images: SetOutputs) -> Tensor:
        batches = [layer_scores(network.layer_features(inputs)) for inputs in images.batches()]
        values = np.concatenate(batches)
        # The features of an inner layer may overflow although those of the last one are finite.
        finite = np.isfinite(values).all(1)
        scores = np.full(len(values), np.nan)
        if finite.any():
            scores[finite] = regression.decision_function(values[finite])
        return torch.from_numpy(scores)

    return Fitted(score, {"layers": len(gaussians), "epsilon": EPSILON, "images": count})


@torch.no_grad()
def training_layers(network: FeatureNetwork, train: SetOutputs) -> Layers:
    """Return the training images' features [N, channels] of each layer, on the CPU."""
    batches = [
        [layer.cpu() for layer in network.layer_features(inputs)] for inputs in train.batches()
    ]
    return [torch.cat(layer) for layer in zip(*batches, strict=True)]


@torch.no_grad()
def adversarial_layers(data: FitData) -> Iterator[tuple[Layers, Layers]]:
    """Yield the layers of the adversarial set, clean and attacked, for each calibration batch.

    A calibration image x is in the set if the network classifies it correctly, both clean and with
    Gaussian noise of standard deviation ε in each pixel, and wrongly after an attack. The attack is
    FGSM, x + ε·sign(∇x CE). Noisy and attacked pixels are clamped to [0, 1].
    """
    network = required(data.network, "the network")
    all_labels = required(data.calibration.labels, "calibration labels")
    generator = torch.Generator().manual_seed(SEED)
    start = 0
    for inputs in data.calibration.batches():
        labels = all_labels[start : start + len(inputs)].to(inputs.device)
        start += len(inputs)

        def loss(inputs: Tensor, labels: Tensor = labels) -> Tensor:
            # A clone, since autograd cannot save a tensor that was made in inference mode.
            return F.cross_entropy(wide(network(inputs)), labels.clone(), reduction="none")

        # Drawn on the CPU, so that the noise is the same on every device.
        noise = EPSILON * torch.randn(inputs.shape, generator=generator).to(inputs)
        noisy = clamp_pixels(inputs + noise / by_channel(data.std, inputs), data)
        attack = clamp_pixels(perturbed(inputs, loss, EPSILON, data.std), data)
        clean, clean_classes = layers_and_classes(network, inputs)
        attacked, attacked_classes = layers_and_classes(network, attack)
        correct = (clean_classes == labels) & (network(noisy).argmax(1) == labels)
        in_set = correct & (attacked_classes != labels)
        yield [layer[in_set] for layer in clean], [layer[in_set] for layer in attacked]


def clamp_pixels(inputs: Tensor, data: FitData) -> Tensor:
    """Return the inputs with their pixels clamped to [0, 1]."""
    mean, std = by_channel(data.mean, inputs), by_channel(data.std, inputs)
    return inputs.clamp(-mean / std, (1 - mean) / std)


def layers_and_classes(network: FeatureNetwork, inputs: Tensor) -> tuple[Layers, Tensor]:
    """Return each layer's features [B, channels] and the predicted classes [B]."""
    layers = network.layer_features(inputs)
    return layers, network.classifier(layers[-1]).argmax(1)


def _fit_regression(clean: np.ndarray, attacked: np.ndarray) -> Pipeline:
    """Return a logistic regression that separates scores [n, L] of clean and attacked images."""
    # Imported here: it takes a second, and a program that loads a fitted score does not need it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Standardised, since a distance grows with the number of channels of its layer, and the
    # regression penalises large weights.
    regression = make_pipeline(StandardScaler(), LogisticRegression())
    is_clean = np.repeat([1, 0], [len(clean), len(attacked)])
    return regression.fit(np.concatenate([clean, attacked]), is_clean)
