"""ReAct, rectified activations (Sun et al. 2021, arXiv 2111.12797)."""

import numpy as np

from .common import energies, features_of
from .contract import Fitted, Known

PERCENTILE = 90  # the paper's


def fit_react(known: Known) -> Fitted:
    """Score: the energy of head(min(f, c)), c the percentile of all training activations, of every feature alike."""
    # numpy's, since PyTorch 2.6's `quantile` refuses more than 2²⁴ values, and CIFAR's training sets have more.
    clip = float(np.percentile(features_of(known.train).numpy(), PERCENTILE))
    return Fitted(lambda part: energies(known.head, features_of(part).clamp(max=clip)), {"percentile": PERCENTILE, "clip": clip})
