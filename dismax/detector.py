"""A trained network to deploy: images in; classes, calibrated probabilities, scores, and whether
each is in-distribution, out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .body import named_outputs, take_apart
from .losses.precision import at_least_float32
from .saved import load_network

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
ROUNDING = 1 / 510  # half a step of 8-bit pixels: what resizing and half precision may add


class Detections(NamedTuple):
    """What a detector says of a batch of B images."""

    classes: Tensor  # int64 [B], the most probable class
    probabilities: Tensor  # [B, C], at the fitted temperature
    scores: Tensor  # [B], higher is more in-distribution
    accepted: Tensor  # bool [B], whether the score reaches the threshold
    logits: Tensor  # [B, C], divided by the fitted temperature


def _inside(images: Tensor) -> Tensor | None:
    """Checks that all pixels of float images [B, C, H, W] lie in [0, 1]. Returns None, or raises
    ValueError.

    A graph that is compiled, exported or traced cannot raise an error that depends on values. There
    it returns which images are right, bool [B].
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return ((images >= -ROUNDING) & (images <= 1 + ROUNDING)).flatten(1).all(1)
    if images.numel():
        least, most = torch.stack(images.detach().aminmax()).tolist()
        if not (least >= -ROUNDING and most <= 1 + ROUNDING):  # NaN is neither
            raise ValueError(
                f"a detector takes floats in [0, 1], got {least:.4g} to {most:.4g}: give it 0 to "
                "255 as uint8, and images as they "
                "are before any normalisation, which it does itself"
            )
    return None


def _constants(mean: Sequence[float], std: Sequence[float]) -> tuple[Tensor, Tensor]:
    """A normalisation as float32 [C, 1, 1] each.

    Raises ValueError for one that cannot be of pixels in [0, 1].
    """
    try:
        means, stds = (
            torch.as_tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
        )
        possible = (
            len(means) == len(stds) > 0
            and ((means >= 0) & (means <= 1) & (stds > 0) & stds.isfinite()).all()
        )
    except (TypeError, ValueError, RuntimeError):
        possible = False
    if not possible:
        raise ValueError(
            f"mean and std are a number a channel, of pixels in [0, 1], got {mean!r:.80} and "
            f"{std!r:.80}"
        )
    return means, stds


def _names(given: Sequence[str], num_classes: int) -> tuple[str, ...]:
    """The classes' names as a tuple. Raises ValueError if they are not text, or not one a class."""
    if isinstance(given, str) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"class_names are a list of str, got {given!r:.80}")
    if len(given) not in (0, num_classes):
        raise ValueError(f"the head has {num_classes} classes, got {len(given)} class_names")
    return tuple(given)


class Detector(nn.Module):
    """A network with its normalisation, temperature and thresholds.

    Of a run's network it knows `size`, its training images' (height, width), and `margin`: larger
    images are resized to cover that size with a margin, and their centre is taken.

    `half()`, `bfloat16()` and `double()` change the network's precision. The head, the thresholds
    and the normalisation stay in float32 or wider. Of a compiled network the copy is not compiled:
    compile the detector.

    Args:
        network: a trained one whose classifier is one of `dismax.losses`' heads, at its fitted
            temperature and with its thresholds set; it is copied. Its forward pass ends with the
            head: a detector refuses the first images otherwise.
        mean, std: of each channel, of pixels in [0, 1], as the network was trained with.
        class_names: of the C classes, if they have names.
        tpr: the share of in-distribution images to accept, at least.

    Raises ValueError for a network with no such head or several, for a mean and std of no such
    pixels, for other than C names, and for a share outside [0, 1]; RuntimeError for a head without
    thresholds.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        tpr: float = 0.95,
    ):
        super().__init__()
        self.size: tuple[int, int] | None = None
        self.margin = 0
        self.body, self.head = take_apart(network)
        self.class_names = _names(class_names, self.head.num_classes)
        means, stds = _constants(mean, std)
        self.register_buffer("mean", means)
        self.register_buffer("std", stds)
        self.register_buffer(
            "least",
            torch.tensor(self.threshold(tpr), dtype=at_least_float32(self.head.thresholds).dtype),
        )
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, tpr: float = 0.95) -> Detector:
        """The detector of a run's model.pt.

        Raises as `Detector` does, and ValueError for a file that is damaged or no such one.
        """
        network, saved = load_network(path)
        try:
            detector = cls(network, saved["mean"], saved["std"], saved["classes"], tpr)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        height, width = saved["size"]
        detector.size, detector.margin = (height, width), saved.get("margin", 0)
        return detector

    def threshold(self, tpr: float = 0.95) -> float:
        """The score that at least this share of in-distribution images reached.

        Raises ValueError for a share outside [0, 1].
        """
        return self.head.threshold(tpr)

    def train(self, mode: bool = True) -> Detector:
        """Evaluation mode always: training mode would forget the calibration."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Detector:
        """As `nn.Module._apply`, which half() and to() go through; but only the body goes below
        float32.

        A score can be larger than half precision holds, and a threshold rounded up would refuse
        images.
        """

        def wide(tensor: Tensor) -> Tensor:
            changed = fn(tensor)
            narrow = changed.is_floating_point() and changed.element_size() < torch.float32.itemsize
            return tensor.to(changed.device) if narrow else changed

        if recurse:
            self.body._apply(fn)
            self.head._apply(wide)
        return super()._apply(wide, recurse=False)

    def _check(self, images: Tensor) -> None:
        """Raises ValueError for what are no images of this detector, as far as their type and shape
        tell.
        """
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
        """What there is to say of images [B, C, H, W], uint8 or floats in [0, 1].

        The range of floats is checked once a batch, which waits for the GPU. uint8 needs no check.
        A graph that is compiled, exported or traced cannot check: there an image with pixels
        outside [0, 1] gets probabilities and a score of NaN, and is not accepted.

        Raises ValueError for other types, shapes and pixels, and for a network that does anything
        after its head.
        """
        self._check(images)
        inside = None
        if images.dtype == torch.uint8:
            # Said, since older exporters promote no uint8.
            pixels = images.to(self.mean.dtype) / 255
        else:
            pixels, inside = images, _inside(images)
        outputs = named_outputs(self.body, (pixels - self.mean) / self.std)
        logits, scores = outputs["logits"] / self.head.temperature, self.head.scores(outputs)
        if inside is not None:
            logits, scores = (
                logits.where(inside[:, None], torch.nan),
                scores.where(inside, torch.nan),
            )
        return Detections(logits.argmax(1), logits.softmax(1), scores, scores >= self.least, logits)
