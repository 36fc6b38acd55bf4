"""A trained network to deploy.

It takes images, and returns classes, calibrated probabilities, scores, and which images are
in-distribution.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .body import named_outputs, take_apart
from .losses.common import at_least_float32
from .saved import load_network
from .score import DeployedScore, choose

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
# Pixels may leave [0, 1] by this much after resizing or in half precision: half a step of uint8.
ROUNDING = 1 / 510


class Detections(NamedTuple):
    """What a detector returns for a batch of B images."""

    classes: Tensor  # int64 [B], the most probable class
    probabilities: Tensor  # [B, C], at the fitted temperature
    scores: Tensor  # [B], higher is more in-distribution
    accepted: Tensor  # bool [B], whether the score reaches the threshold
    logits: Tensor  # [B, C], divided by the fitted temperature


def _check_range(images: Tensor) -> Tensor | None:
    """Check that all pixels of float images [B, C, H, W] lie in [0, 1].

    Returns None. A graph that is compiled, exported or traced cannot raise an error that depends on
    values; there this returns which images are in the range, bool [B].

    Raises ValueError for pixels outside [0, 1].
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return ((images >= -ROUNDING) & (images <= 1 + ROUNDING)).flatten(1).all(1)
    if images.numel():
        low, high = torch.stack(images.detach().aminmax()).tolist()
        if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # true for NaN
            raise ValueError(
                f"a detector takes floats in [0, 1], got {low:.4g} to {high:.4g}: give it 0 to 255 "
                "as uint8, and images as they are before any normalisation, which it does itself"
            )
    return None


def _normalization(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return mean and std as tensors, float32 [C, 1, 1] each.

    Raises ValueError for numbers that cannot be the mean and std of pixels in [0, 1].
    """
    try:
        means, stds = (
            torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
        )
        if (
            len(means) == len(stds) > 0
            and ((means >= 0) & (means <= 1) & (stds > 0) & stds.isfinite()).all()
        ):
            return means, stds
    except (TypeError, ValueError, RuntimeError):
        pass  # not numbers
    raise ValueError(
        "mean and std are a number for each channel, of pixels in [0, 1], got "
        f"{mean!r:.80} and {std!r:.80}"
    )


def _check_names(names: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """Return the classes' names as a tuple.

    Raises ValueError if they are not text, or if there is not one for each class.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"class_names are a list of str, got {names!r:.80}")
    if len(names) not in (0, num_classes):
        raise ValueError(f"the head has {num_classes} classes, got {len(names)} class_names")
    return tuple(names)


class Detector(nn.Module):
    """A trained network with its normalisation, temperature and thresholds.

    If it was loaded from a run, `size` is the (height, width) of the run's training images, and
    `margin` is a number; both are in pixels. The detector itself does not resize. Resize images of
    another size to cover `size` plus `margin`, and crop their centre, as predict.py does. `grey`
    tells whether all training images were grey. Otherwise `size` and `grey` are None.

    `half()`, `bfloat16()` and `double()` change the network's precision. The head, the thresholds
    and the normalisation stay in float32 or wider. The copy of a compiled network is not compiled:
    compile the detector instead.

    Args:
        network: a trained network whose classifier is a head of `dismax.losses`, with its fitted
            temperature and with its thresholds set. It is copied. Its forward pass must end with
            the head; if it does not, the first images raise ValueError.
        mean: of each channel, for pixels in [0, 1], as in training.
        std: of each channel, for pixels in [0, 1], as in training.
        class_names: names of the C classes; may be empty.
        tpr: the share of in-distribution images to accept, at least.
        score: a score of `dismax.score.fit_score`, by default the head's own.

    Raises ValueError for a network that has no such head or several, for a mean or std that cannot
    be of such pixels, for a wrong number of names, and for a share outside [0, 1]; RuntimeError for
    a head without thresholds.
    """

    mean: Tensor  # [C, 1, 1]
    std: Tensor  # [C, 1, 1]
    least: Tensor  # the threshold, a single number: images with at least this score are accepted

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        tpr: float = 0.95,
        score: DeployedScore | None = None,
    ):
        super().__init__()
        self.size: tuple[int, int] | None = None
        self.margin = 0
        self.grey: bool | None = None
        self.tpr = float(tpr)
        self.body, self.head = take_apart(network)
        self.class_names = _check_names(class_names, self.head.num_classes)
        means, stds = _normalization(mean, std)
        self.score = copy.deepcopy(score)
        self.register_buffer("mean", means)
        self.register_buffer("std", stds)
        thresholds = self.score.thresholds if self.score else self.head.thresholds
        precision = at_least_float32(thresholds).dtype
        self.register_buffer("least", torch.tensor(self.threshold(tpr), dtype=precision))
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, tpr: float = 0.95, score: str | None = None) -> Detector:
        """Return the detector of a run's model.pt, on the CPU.

        Args:
            path: the file.
            tpr: the share of in-distribution images to accept, at least.
            score: a score that `detect.py --deploy` put there, or "own", the head's. By default
                "combined" if it is there, else "own".

        Raises what `Detector` raises, ValueError for a file that is damaged or no model.pt, and
        OSError for one that cannot be read.
        """
        network, saved = load_network(path)
        try:
            chosen = choose(saved["scores"], score)
            detector = cls(network, saved["mean"], saved["std"], saved["classes"], tpr, chosen)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        height, width = saved["size"]
        detector.size = (height, width)
        detector.margin = saved.get("margin", 0)
        detector.grey = saved.get("grey")
        return detector

    def threshold(self, tpr: float = 0.95) -> float:
        """Return the score that at least the share `tpr` of in-distribution images reached.

        Raises ValueError for a share outside [0, 1].
        """
        return (self.score or self.head).threshold(tpr)

    def train(self, mode: bool = True) -> Detector:
        """Keep evaluation mode, whatever `mode` is: training mode would forget the calibration."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Detector:
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

    def _check(self, images: Tensor) -> None:
        """Raises ValueError for a type or shape that images for this detector cannot have."""
        if not isinstance(images, Tensor):
            raise ValueError(f"a detector takes a tensor of images, got {type(images).__name__}")
        if images.dtype != torch.uint8 and images.dtype not in FLOATS:
            raise ValueError(
                f"a detector takes images of uint8, or of floats in [0, 1], got {images.dtype}"
            )
        channels = len(self.mean)
        if images.ndim != 4 or images.shape[1] != channels or 0 in images.shape[2:]:
            raise ValueError(
                f"this detector takes images [B, {channels}, H, W], got {list(images.shape)}"
            )

    def forward(self, images: Tensor) -> Detections:
        """Classify images and decide which are in-distribution.

        Args:
            images: [B, C, H, W], uint8, or floats in [0, 1].

        The range of floats is checked for each batch, for which the host waits for the GPU. uint8
        needs no check. A graph that is compiled, exported or traced cannot raise an error for the
        range: there an image with pixels outside [0, 1] gets probabilities and a score of NaN, and
        is not accepted.

        Raises ValueError for other types, shapes and pixels, and for a network that does anything
        after its head.
        """
        self._check(images)
        in_range = None
        if images.dtype == torch.uint8:
            # An explicit conversion, since older exporters do not promote uint8.
            pixels = images.to(self.mean.dtype) / 255
        else:
            pixels = images
            in_range = _check_range(images)
        outputs = named_outputs(self.body, (pixels - self.mean) / self.std)
        logits = outputs["logits"] / self.head.temperature
        scores = self.score(outputs, self.head) if self.score else self.head.scores(outputs)
        if in_range is not None:
            logits = logits.where(in_range[:, None], torch.nan)
            scores = scores.where(in_range, torch.nan)
        return Detections(logits.argmax(1), logits.softmax(1), scores, scores >= self.least, logits)
