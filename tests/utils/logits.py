"""Random logits for the tests of metrics and of calibration."""

import numpy as np


def random_logits(n, c, seed=0, spread=3.0):
    """Logits [n, c], and labels of which some are not the largest logit's."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, c)) * spread
    return logits, (logits + rng.normal(size=(n, c)) * spread).argmax(1)
