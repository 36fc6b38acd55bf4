"""Mahalanobis over several layers, weighed without OOD data (Lee et al. 2018, arXiv 1807.03888, section 3.2).

The paper's input pre-processing is left out here too.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .common import float64, wide
from .contract import Fitted, Known, Part
from .mahalanobis import class_gaussians
from .perturbation import perturbed

EPSILON = 0.05  # of the adversarial images, in pixels of [0, 1]: a guess of ours


def fit_mahalanobis_layers(known: Known) -> Fitted:
    """Score wᵀ (M_1 … M_L) + b, with M_l layer l's Mahalanobis score: the log-odds that an image is not adversarial.

    A logistic regression finds w and b: it tells the deciding images from x + ε·sign(∇x CE), the FGSM images made from them. (Not
    cut to [0, 1], as inputs do not say where that lies.) Raises ValueError if the deciding images have no labels.
    """
    if known.deciding.labels is None:
        raise ValueError("Mahalanobis over layers needs labelled deciding images")
    network = known.network

    @torch.no_grad()
    def layers(batches) -> list[Tensor]:
        """The set's features [N, channels] of each layer."""
        by_batch = [[layer.float().cpu() for layer in network.layer_features(inputs)] for inputs in batches]
        return [torch.cat(layer) for layer in zip(*by_batch, strict=True)]

    gaussians = [class_gaussians(float64(layer), known.train.labels) for layer in layers(known.train.batches())]

    def scores(batches) -> np.ndarray:
        columns = [gaussian(float64(layer)) for gaussian, layer in zip(gaussians, layers(batches), strict=True)]
        return torch.stack(columns, dim=1).numpy()

    def adversarial():
        start = 0
        for inputs in known.deciding.batches():
            labels = known.deciding.labels[start : start + len(inputs)].to(inputs.device)
            start += len(inputs)

            def loss(inputs: Tensor, labels: Tensor = labels) -> Tensor:
                # A clone, since autograd keeps no tensor that inference mode made.
                return F.cross_entropy(wide(network(inputs)), labels.clone(), reduction="none")

            yield perturbed(inputs, loss, EPSILON, known.std)

    clean, attacked = scores(known.deciding.batches()), scores(adversarial())
    # Standardised, since a distance grows with its layer's channels and the regression penalises large weights.
    regression = make_pipeline(StandardScaler(), LogisticRegression())
    regression.fit(np.concatenate([clean, attacked]), np.repeat([1, 0], [len(clean), len(attacked)]))

    def score(part: Part) -> Tensor:
        return torch.from_numpy(regression.decision_function(scores(part.batches())))

    return Fitted(score, {"layers": len(gaussians), "epsilon": EPSILON})
