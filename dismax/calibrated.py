"""A trained network that returns classes, calibrated probabilities, scores, and which inputs are
in-distribution. The inputs may be anything: rows of a table, tokens of a text, features.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from .body import named_outputs, take_apart
from .checks import check_names
from .losses.common import at_least_float32
from .losses.thresholds import percentiles
from .score import OWN, DeployedScore


class Detections(NamedTuple):
    """What a detector returns for a batch of B inputs."""

    classes: Tensor  # int64 [B], the most probable class
    probabilities: Tensor  # [B, C], at the fitted temperature
    scores: Tensor  # [B], higher is more in-distribution
    accepted: Tensor  # bool [B], whether the score reaches the threshold
    logits: Tensor  # [B, C], divided by the fitted temperature


class CalibratedNetwork(nn.Module):
    """A trained network with its temperature and thresholds, for inputs of any kind.

    `half()`, `bfloat16()` and `double()` change the network's precision. The head and the
    thresholds stay in float32 or wider. The copy of a compiled network is not compiled: compile
    the calibrated network instead.

    Args:
        network: a trained network whose classifier is a head of `dismax.losses`, with its fitted
            temperature and with its thresholds set. It is copied. Its forward pass must end with
            the head; if it does not, the first inputs raise ValueError.
        class_names: names of the C classes; may be empty.
        tpr: the share of in-distribution inputs to accept, at least.
        score: a score of `dismax.fit_score`, by default the head's own. It must be fitted to this
            network after its last training step, which is not checked.
        per_class: whether an input is accepted by the threshold of its predicted class. Then the
            share holds for each predicted class, not only for all inputs together. It needs a
            `score`, which may be that of `dismax.fit_score(network, "own", ...)`, and for each
            class 1/(1 - tpr) - 1 held-out inputs or more.

    Raises ValueError for a network that has no such head or several, for a wrong number of names,
    for a share outside [0, 1], and for too few held-out inputs of a class; RuntimeError for a head
    without thresholds if there is no `score`.
    """

    # Inputs with at least this score are accepted: a single number, or one for each class [C].
    least: Tensor

    def __init__(
        self,
        network: nn.Module,
        class_names: Sequence[str] = (),
        tpr: float = 0.95,
        score: DeployedScore | None = None,
        per_class: bool = False,
    ):
        super().__init__()
        if not isinstance(score, DeployedScore | None):
            raise ValueError(
                f"score is what dismax.fit_score returns, got {score!r:.40}; Detector.load takes a "
                "score by its name"
            )
        self._tpr = float(tpr)
        self.body, self.head = take_apart(network)
        self.class_names = check_names(class_names, self.head.num_classes)
        precision = at_least_float32(self.head.thresholds).dtype
        self.score = copy.deepcopy(score).to(precision) if score else None
        self.register_buffer("least", self._least(self._tpr, per_class))
        self.requires_grad_(False)

    @property
    def tpr(self) -> float:
        """The share of in-distribution inputs to accept, at least. Another share sets `least`.

        A state dict holds `least` and not this share: set it after `load_state_dict`.
        """
        return self._tpr

    @tpr.setter
    def tpr(self, tpr: float) -> None:
        self.least = self._least(float(tpr), self.per_class).to(self.least.device)
        self._tpr = float(tpr)

    @property
    def score_name(self) -> str:
        """The name of the score that decides; "own" is the head's."""
        return self.score.name if self.score else OWN

    @property
    def per_class(self) -> bool:
        """Whether an image is accepted by the threshold of its predicted class."""
        return self.least.ndim == 1

    def _least(self, tpr: float, per_class: bool) -> Tensor:
        """Return the threshold, a single number or one for each class [C]."""
        if not per_class:
            thresholds = self.score.thresholds if self.score else self.head.thresholds
            return torch.tensor(self.threshold(tpr), dtype=at_least_float32(thresholds).dtype)
        if self.score is None:
            raise ValueError(
                "per_class needs a score with thresholds for each class, such as "
                'dismax.fit_score(network, "own", train_loader, held_out_loader)'
            )
        return self.score.class_threshold(tpr, self.class_names)

    def has_threshold_of_tpr(self) -> bool:
        """Return whether `least` is the threshold of `tpr`: it may have been changed by hand."""
        expected = self._least(self.tpr, self.per_class)
        return self.least.cpu().equal(expected.to("cpu", self.least.dtype))

    def threshold(self, tpr: float | None = None) -> float:
        """Return the score that at least the share `tpr` of in-distribution images reached, of all
        classes together. By default `tpr` is the detector's own.

        Raises ValueError for a share outside [0, 1].
        """
        return (self.score or self.head).threshold(self.tpr if tpr is None else tpr)

    @torch.no_grad()
    def set_thresholds(self, in_scores: Tensor) -> None:
        """Set the thresholds from the scores [N] that this network gave in-distribution inputs.

        A score's thresholds for each class are lost: `dismax.fit_score` sets them.

        Raises ValueError for scores that are not finite, and if this network has a threshold for
        each class.
        """
        if self.per_class:
            raise ValueError("thresholds for each class are set by dismax.fit_score")
        if self.score:
            self.score.class_thresholds = self.score.class_counts = None
        thresholds = (self.score or self.head).thresholds
        thresholds.copy_(percentiles(in_scores, thresholds.dtype))
        self.tpr = self.tpr

    def train(self, mode: bool = True) -> Self:
        """Keep evaluation mode, whatever `mode` is: training mode would forget the calibration."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Like `nn.Module._apply`, which half() and to() call; but all except the body stays in
        float32 or wider.

        A score can be too large for half precision, and a threshold that is rounded up would reject
        images that it must accept.
        """

        def wide(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            narrow = changed.is_floating_point() and changed.element_size() < torch.float32.itemsize
            return tensor.to(changed.device) if narrow else changed

        if recurse:
            self.body._apply(fn)
            self.head._apply(wide)
            if self.score:
                self.score._apply(wide)
        return super()._apply(wide, recurse=False)

    def forward(self, inputs: Tensor, /) -> Detections:
        """Classify inputs and decide which are in-distribution.

        Args:
            inputs: [B, ...], as the network takes them, prepared as in training. Nothing about them
                is checked. An input whose outputs are not finite is not accepted.

        Raises ValueError for a network that does anything after its head.
        """
        return self._decide(*self._outputs(inputs))

    def _outputs(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [B, C] at the fitted temperature and scores [B] of a network's inputs."""
        outputs = named_outputs(self.body, inputs)
        logits = outputs["logits"] / self.head.temperature
        scores = self.score(outputs, self.head) if self.score else self.head.scores(outputs)
        return logits, scores

    def _decide(self, logits: Tensor, scores: Tensor) -> Detections:
        """Return what is decided by logits [B, C] at the fitted temperature and scores [B]."""
        classes = logits.argmax(1)
        least = self.least[classes] if self.per_class else self.least
        return Detections(classes, logits.softmax(1), scores, scores >= least, logits)
