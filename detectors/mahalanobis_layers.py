"""Mahalanobis over several layers, weighed without OOD data (Lee et al. 2018, arXiv 1807.03888,
section 3.2).

The paper's input pre-processing is left out here too.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from .common import float64, wide
from .contract import FitData, Fitted, NotApplicable, SetOutputs
from .mahalanobis import class_gaussians
from .perturbation import by_channel, perturbed

EPSILON = 0.05  # of attack and noise, in pixels of [0, 1]
SEED = 0  # of the noise

Layers = list[Tensor]  # each layer's features [B, channels] of a batch


def fit_mahalanobis_layers(known: FitData) -> Fitted:
    """Score wᵀ (M_1 … M_L) + b, with M_l the Mahalanobis score of layer l.

    It is the log-odds that an image is clean, not attacked. A logistic regression finds w and b: it
    tells the adversarial set's clean images from the attacked ones.
    `adversarial` says which deciding images that set has. ε is 0.05 for attack and noise. In Lee et
    al. the noise is smaller, tuned for each network, and the noisy images count as clean ones too.

    The record gets the number of layers, ε, and the number of images in the adversarial set.

    Raises ValueError if the deciding images have no labels. Raises NotApplicable if the adversarial
    set has fewer images than the regression has numbers to find, L + 1.
    """
    if known.deciding.labels is None:
        raise ValueError("Mahalanobis over layers needs labelled deciding images")
    network, labels = known.network, known.train.labels
    gaussians = [class_gaussians(float64(layer), labels) for layer in training_layers(known)]

    def distances(layers: Layers) -> np.ndarray:
        """The layers' Mahalanobis scores [B, L] of a batch."""
        each = zip(gaussians, layers, strict=True)
        return torch.stack([gaussian(float64(layer)) for gaussian, layer in each], dim=1).numpy()

    pairs = [(distances(clean), distances(attacked)) for clean, attacked in adversarial(known)]
    images, needed = sum(len(clean) for clean, _ in pairs), len(gaussians) + 1
    if images < needed:
        raise NotApplicable(
            f"Mahalanobis over layers needs {needed} or more deciding images that the network "
            "classifies correctly, with noise too, and wrongly after the attack; "
            f"got {images}: take another detector"
        )
    regression = _regression(*(np.concatenate(side) for side in zip(*pairs, strict=True)))

    @torch.no_grad()
    def score(part: SetOutputs) -> Tensor:
        by_batch = [distances(network.layer_features(inputs)) for inputs in part.batches()]
        values = np.concatenate(by_batch)
        finite = np.isfinite(values).all(1)  # an inner layer's features may overflow alone
        scores = np.full(len(values), np.nan)
        if finite.any():
            scores[finite] = regression.decision_function(values[finite])
        return torch.from_numpy(scores)

    return Fitted(score, {"layers": len(gaussians), "epsilon": EPSILON, "images": images})


@torch.no_grad()
def training_layers(known: FitData) -> Layers:
    """The training images' features [N, channels] of each layer, on the CPU."""
    layers_of = known.network.layer_features
    by_batch = [[layer.cpu() for layer in layers_of(inputs)] for inputs in known.train.batches()]
    return [torch.cat(layer) for layer in zip(*by_batch, strict=True)]


@torch.no_grad()
def adversarial(known: FitData) -> Iterator[tuple[Layers, Layers]]:
    """The adversarial set's layers, clean and attacked, a batch of deciding images at a time.

    An image x is in the set if the network classifies it correctly both clean and with Gaussian
    noise of standard deviation ε a pixel, and wrongly once it is attacked. The attack is FGSM's,
    x + ε·sign(∇x CE). Noisy and attacked pixels are clamped to [0, 1].
    """
    network, start, generator = known.network, 0, torch.Generator().manual_seed(SEED)
    for inputs in known.deciding.batches():
        labels = known.deciding.labels[start : start + len(inputs)].to(inputs.device)
        start += len(inputs)

        def loss(inputs: Tensor, labels: Tensor = labels) -> Tensor:
            # A clone, since autograd keeps no tensor that inference mode made.
            return F.cross_entropy(wide(network(inputs)), labels.clone(), reduction="none")

        # Drawn on the CPU, so that it is the same on every device.
        noise = EPSILON * torch.randn(inputs.shape, generator=generator).to(inputs)
        noisy = clamped(inputs + noise / by_channel(known.std, inputs), known)
        attack = clamped(perturbed(inputs, loss, EPSILON, known.std), known)
        clean, before = layers_and_classes(network, inputs)
        attacked, after = layers_and_classes(network, attack)
        unmoved = (before == labels) & (network(noisy).argmax(1) == labels)
        chosen = unmoved & (after != labels)
        yield [layer[chosen] for layer in clean], [layer[chosen] for layer in attacked]


def clamped(inputs: Tensor, known: FitData) -> Tensor:
    """The inputs with their pixels clamped to [0, 1]."""
    mean, std = by_channel(known.mean, inputs), by_channel(known.std, inputs)
    return inputs.clamp(-mean / std, (1 - mean) / std)


def layers_and_classes(network: nn.Module, inputs: Tensor) -> tuple[Layers, Tensor]:
    """Each layer's features [B, channels], and the predicted classes [B]."""
    layers = network.layer_features(inputs)
    return layers, network.classifier(layers[-1]).argmax(1)


def _regression(clean: np.ndarray, attacked: np.ndarray) -> Pipeline:
    """A logistic regression that tells the scores [n, L] of clean images from attacked ones'."""
    # Standardised, since a distance grows with its layer's channels and the regression penalises
    # large weights.
    regression = make_pipeline(StandardScaler(), LogisticRegression())
    is_clean = np.repeat([1, 0], [len(clean), len(attacked)])
    return regression.fit(np.concatenate([clean, attacked]), is_clean)
