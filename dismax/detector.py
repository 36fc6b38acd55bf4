"""A trained network to deploy.

It takes images, and returns classes, calibrated probabilities, scores, and which images are
in-distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import shipped
from .calibrated import CalibratedNetwork, Detections
from .checks import check_images, check_range, check_size, normalization, pair
from .exported import SUFFIX, load_exported, restore
from .saved import MODEL, choose, load_network
from .score import DeployedScore


class Detector(CalibratedNetwork):
    """A trained network with its normalisation, temperature and thresholds.

    If it was loaded from a run, `size` is the (height, width) of the run's training images, and
    `margin` is a number; both are in pixels. The detector does not resize, and refuses images of
    another size. Resize these to cover `size` plus `margin`, and crop their centre, as predict.py
    does; or set `size` to None if the network shall see them as they are. `grey` tells whether all
    training images were grey. `config` is the run's configuration. For other networks these are
    None.

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
        score: a score of `dismax.fit_score`, by default the head's own. It must be fitted to this
            network after its last training step, which is not checked.
        per_class: whether an image is accepted by the threshold of its predicted class. Then the
            share holds for each predicted class, not only for all images together. It needs a
            `score`, which may be that of `dismax.fit_score(network, "own", ...)`, and for each
            class 1/(1 - tpr) - 1 held-out images or more.

    Raises ValueError for a network that has no such head or several, for a mean or std that cannot
    be of such pixels, for a wrong number of names, for a share outside [0, 1], and for too few
    held-out images of a class; RuntimeError for a head without thresholds if there is no `score`.
    """

    mean: Tensor  # [C, 1, 1]
    std: Tensor  # [C, 1, 1]

    def __init__(
        self,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        tpr: float = 0.95,
        score: DeployedScore | None = None,
        per_class: bool = False,
    ):
        means, stds = normalization(mean, std)
        super().__init__(network, class_names, tpr, score, per_class)
        self._size: tuple[int, int] | None = None
        self.margin = 0
        self.grey: bool | None = None
        self.config: Mapping[str, Any] | None = None
        self.register_buffer("mean", means)
        self.register_buffer("std", stds)

    @property
    def size(self) -> tuple[int, int] | None:
        """The (height, width) of images in pixels; None if any will do. Others are refused."""
        return self._size

    @size.setter
    def size(self, size: Sequence[int] | None) -> None:
        self._size = None if size is None else pair(size)

    @classmethod
    def load(
        cls,
        path: str | Path,
        tpr: float | None = None,
        score: str | None = None,
        per_class: bool | None = None,
        network: nn.Module | None = None,
    ) -> Detector:
        """Return the detector of a finished run, or of a .safetensors file, on the CPU.

        Args:
            path: the run's folder, its model.pt, or a file that `export.to_safetensors` wrote. Or
                the name of a network that the package brings along: "cifar10".
            tpr: the share of in-distribution images to accept, at least. By default that of the
                detector that was exported; 0.95 for a model.pt.
            score: a score that `detect.py --deploy` put into the run, or "own", the head's. By
                default that of the detector that was exported; for a model.pt "combined" if it is
                there, else "own".
            per_class: as in `Detector`; by default as in the detector that was exported.
            network: for a .safetensors file of your own network: the network, built as it was
                then. Its weights do not matter.

        Raises what `Detector` raises, ValueError for a file that is damaged or of another kind or
        network, and OSError for one that cannot be read.
        """
        path = shipped.resolve(path)
        path = path / MODEL if path.is_dir() else path
        if path.suffix.lower() == ".onnx":
            raise ValueError(
                f"{path} is for onnxruntime (see docs/serve.md): name a finished run, its {MODEL}, "
                f"or a {SUFFIX} file"
            )
        if path.suffix.lower() == SUFFIX:
            network, saved = load_exported(path, network)
        elif network is not None:
            raise ValueError(f"{path} is no {SUFFIX} file: a model.pt has its network")
        else:
            network, saved = load_network(path)
        tpr = saved.get("tpr", 0.95) if tpr is None else tpr
        per_class = saved.get("per_class", False) if per_class is None else per_class
        try:
            exported = "tensors" in saved
            if exported and score is None:
                chosen = saved["chosen"]
            else:
                chosen = choose(saved["scores"], score, per_class)
            mean, std, classes = saved["mean"], saved["std"], saved["classes"]
            detector = cls(network, mean, std, classes, tpr, chosen, per_class)
            if exported:
                restore(detector, saved["tensors"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        detector.size = saved["size"]
        detector.margin = saved.get("margin", 0)
        detector.grey = saved.get("grey")
        detector.config = saved["config"]
        return detector

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
        check_images(images, len(self.mean))
        check_size(images, self.size)
        in_range = None
        if images.dtype == torch.uint8:
            # An explicit conversion, since older exporters do not promote uint8.
            pixels = images.to(self.mean.dtype) / 255
        else:
            pixels = images
            in_range = check_range(images)
        logits, scores = self._outputs((pixels - self.mean) / self.std)
        if in_range is not None:
            logits = logits.where(in_range[:, None], torch.nan)
            scores = scores.where(in_range, torch.nan)
        return self._decide(logits, scores)
