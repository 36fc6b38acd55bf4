"""Finds the images that a run's detector gets most wrong."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data import fingerprint
from data.images import resize
from data.streaming import ImageSet
from experiment.data import Data

from .outcomes import Outcome

COUNT = 8  # images of each set
LARGEST = 96  # pixels of a side; larger images are reduced to it


@dataclass(frozen=True)
class Strip:
    """Images of one set side by side."""

    title: str
    images: list[tuple[str, str]]  # the image as a data URL, and its caption


def most_wrong(run: Outcome, data: Data) -> list[Strip]:
    """Return each OOD set's images with the highest scores, and the test images with the lowest.

    Raises ValueError if the data are not those that the run was evaluated on.
    """
    classes, test, detection = data.train.classes, data.evaluation["test"], run.record["detection"]
    _refuse_other_images(run, data)

    def predictions(name: str, positions: np.ndarray) -> list[str]:
        """The predicted class and its probability, of each image."""
        return [
            f"{classes[run.predicted[name][i]]}, {run.confidences['calibrated'][name][i]:.0%}"
            for i in positions
        ]

    strips = []
    for source, entry in detection.items():
        highest = np.argsort(-run.scores[source], kind="stable")[:COUNT]
        urls = _urls(data.ood[source][1], highest)
        images = list(zip(urls, predictions(source, highest), strict=True))
        strips.append(Strip(f"{entry['title']}: highest scores", images))
    lowest = np.argsort(run.scores["test"], kind="stable")[:COUNT]
    captions = [
        f"{prediction}; is {classes[int(test.labels[i])]}"
        for prediction, i in zip(predictions("test", lowest), lowest, strict=True)
    ]
    images = list(zip(_urls(test, lowest), captions, strict=True))
    return [*strips, Strip("Test images: lowest scores", images)]


def _refuse_other_images(run: Outcome, data: Data) -> None:
    """Raises ValueError if a set is not the one that the run was evaluated on."""
    recorded = run.record.get("fingerprints", {})  # earlier versions wrote none
    for name in ("test", *run.record["detection"]):
        images = data.evaluation_sets.get(name)
        same = images is not None and len(images) == len(run.scores[name])
        if not same or (name in recorded and recorded[name] != fingerprint.of(images)):
            raise ValueError(f"{name} has other images now, or other pixels, than in the run")


def _urls(images: ImageSet, positions: np.ndarray) -> list[str]:
    """Return the images at these positions as data URLs."""
    return [_as_url(pixels) for pixels in images.take(torch.from_numpy(positions)).first(COUNT)]


def _as_url(pixels: Tensor) -> str:
    """Return an image, uint8 [3, H, W], as a PNG in a data URL."""
    height, width = pixels.shape[1:]
    scale = min(1.0, LARGEST / max(height, width))
    pixels = resize(pixels[None], (max(1, round(height * scale)), max(1, round(width * scale))))[0]
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
