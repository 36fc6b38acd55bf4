"""ReAct, rectified activations (Sun et al. 2021, arXiv 2111.12797)."""

import numpy as np

from .common import deployable, features_of
from .contract import FitData, Fitted, required
from .energy import ShapedEnergy

PERCENTILE = 90  # the paper's value


class ReAct(ShapedEnergy):
    """The energy of head(min(f, c)), with c = `clip`."""

    clip: float

    def __init__(self, clip: float):
        super().__init__(clip=clip)

    def shape(self, features):
        return features.clamp(max=self.clip)


def fit_react(data: FitData) -> Fitted:
    """Return the detector whose score is the energy of head(min(f, c)).

    c is the 90th percentile of all features of the training images together. OpenOOD takes the
    percentile of the validation images' features. The AUROCs differ by 0.03 to 0.1 points.
    """
    required(data.head, "the head")
    train = required(data.train, "training images")
    # numpy, since `quantile` of PyTorch 2.6 refuses more than 2²⁴ values, and CIFAR's training sets
    # have more.
    clip = float(np.percentile(features_of(train).numpy(), PERCENTILE))
    parameters = {"percentile": PERCENTILE, "images": "train", "clip": clip}
    return deployable(ReAct(clip), data, parameters)
