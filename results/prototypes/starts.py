"""A plugin with other starts of DisMax's prototypes.

- `--loss dismax_short`, `dismax_nofpr_short`: the usual directions, with a length of about 1.
- `--loss dismax_start1`, `dismax_start2`, `dismax_start3`: the directions and lengths with which
  WideResNet-10-2 starts under that seed, whatever the run's seed is.
"""

import math
from functools import partial

import torch

from losses import LOSSES, DisMaxLossFirstPart, Loss
from models import build_model


class ShortPrototypes(DisMaxLossFirstPart):
    """DisMax's head; the prototypes start from N(0, 1/D) instead of N(0, 1).

    The logits depend on directions only, so they start the same. But a step of the optimizer turns
    a prototype D times as far: it changes p by lr·∇, where ∇ is proportional to 1/‖p‖, and the
    direction by 1/‖p‖ of that.
    """

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        with torch.no_grad():
            self.prototypes.div_(math.sqrt(num_features))


class PrototypesOfSeed(DisMaxLossFirstPart):
    """DisMax's head with the prototypes with which WideResNet-10-2 starts under another seed."""

    def __init__(self, num_features: int, num_classes: int, seed: int):
        super().__init__(num_features, num_classes)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            other = build_model("wideresnet102", num_classes, DisMaxLossFirstPart)
            self.prototypes.copy_(other.classifier.prototypes)


for name in ("dismax", "dismax_nofpr"):
    usual = LOSSES[name]
    LOSSES[f"{name}_short"] = Loss(
        f"{usual.title}, short prototypes", ShortPrototypes, usual.criterion
    )
for seed in (1, 2, 3):
    LOSSES[f"dismax_start{seed}"] = Loss(
        f"DisMax, prototypes of seed {seed}",
        partial(PrototypesOfSeed, seed=seed),
        LOSSES["dismax"].criterion,
    )
