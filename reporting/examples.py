"""The images that a run's detector gets most wrong."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.images import resize
from data.streaming import ImageSet
from experiment.data import Data

from .outcomes import Outcome

SHOWN, LARGEST = 8, 96  # images of a set; pixels of a side, to which larger ones are reduced


@dataclass(frozen=True)
class Strip:
    """Images of one set, as data URLs with what is to be said of each."""

    title: str
    images: list[tuple[str, str]]


def most_wrong(run: Outcome, data: Data) -> list[Strip]:
    """The out-of-distribution images with the highest scores, a set each, and the test images with
    the lowest.

    Raises ValueError if the data are not those that the run was judged by.
    """
    classes, test, found = data.train.classes, data.evaluation["test"], run.record["detection"]
    sizes = {"test": len(test)} | {source: len(part) for source, (_, part) in data.ood.items()}
    if any(sizes.get(name) != len(run.scores[name]) for name in ("test", *found)):
        raise ValueError("the data have changed since the run")

    def strip(name: str, title: str, positions: np.ndarray, images: ImageSet) -> Strip:
        pixels = images.take(torch.from_numpy(positions)).first(SHOWN)
        said = [
            f"{classes[run.predicted[name][i]]}, {run.certainty[name][i]:.0%}" for i in positions
        ]
        if name == "test":
            said = [
                f"{text}; is {classes[int(test.labels[i])]}"
                for text, i in zip(said, positions, strict=True)
            ]
        return Strip(title, list(zip(map(_as_url, pixels), said, strict=True)))

    strips = []
    for source, each in found.items():
        highest = np.argsort(-run.scores[source], kind="stable")[:SHOWN]
        strips.append(
            strip(source, f"{each['title']}: highest scores", highest, data.ood[source][1])
        )
    lowest = np.argsort(run.scores["test"], kind="stable")[:SHOWN]
    strips.append(strip("test", "Test images: lowest scores", lowest, test))
    return strips


def _as_url(pixels: Tensor) -> str:
    """uint8 [3, H, W] as a PNG in a data URL."""
    height, width = pixels.shape[1:]
    scale = min(1.0, LARGEST / max(height, width))
    pixels = resize(pixels[None], (max(1, round(height * scale)), max(1, round(width * scale))))[0]
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
