"""A network that classifies images and decides about them, whatever file it was kept in."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from data.images import to_grey
from dismax.detector import Detections, Detector
from dismax.export import OUTPUTS
from dismax.exported import NAMES
from utils import runtime

EXPORTED = ".onnx"


@dataclass(frozen=True)
class Classifier:
    """A network, and what must be known to use it."""

    detect: Callable[[Tensor], Detections]  # takes uint8 [B, channels, height, width]
    class_names: Sequence[str]
    size: tuple[int, int]  # (height, width) of its images
    margin: int = 0  # how much longer than `size` each side is before the centre is cropped
    channels: int = 3
    grey: bool | None = None  # whether all training images were grey, if that is known
    # These three are None for an ONNX file without metadata.
    score: str | None = None  # the name of the score that decides
    # The lowest accepted score: one number, or one for each predicted class.
    threshold: float | list[float] | None = None
    tpr: float | None = None  # the share of held-out images that reach it

    def __call__(self, pixels: Tensor) -> Detections:
        """Decide about images, uint8 [B, 3, height, width].

        If the network has seen only grey images, it gets grey ones. In the evaluation of a run it
        does too.
        """
        if self.grey or self.channels == 1:
            pixels = to_grey(pixels)
        return self.detect(pixels[:, : self.channels])


def load(
    path: Path, tpr: float | None, score: str | None, device: str, per_class: bool = False
) -> Classifier:
    """Return the classifier in a run's folder, a model.pt, or an exported detector.

    Args:
        path: the folder or the file.
        tpr: the share of in-distribution images to accept, at least; see `Detector.load`.
        score: the score that decides; see `Detector.load`.
        device: where the network runs, as `runtime.find_device` takes it. ONNX runs on the CPU.
        per_class: a threshold for each predicted class, whatever the file chose.

    Raises ValueError for a file that is damaged or no network, or for a choice that it does not
    have; OSError for one that cannot be read.
    """
    if path.suffix.lower() == EXPORTED:
        options = {"--tpr": tpr is not None, "--score": score is not None, "--per-class": per_class}
        for option, chosen in options.items():
            if chosen:
                raise ValueError(
                    f"{option} cannot be changed for an ONNX file, which holds one score and one "
                    "threshold: leave it out, or export the detector again"
                )
        if device not in ("auto", "cpu"):
            raise ValueError(f"--device {device}: an ONNX file runs on the CPU here, leave it out")
        return _exported(path)
    where = runtime.find_device(device)
    detector = Detector.load(path, tpr, score, per_class or None).to(where)
    if detector.size is None:
        raise ValueError(f"{path} does not tell the size of its images")
    return Classifier(
        lambda pixels: detector(pixels.to(where)),
        detector.class_names,
        detector.size,
        detector.margin,
        len(detector.mean),
        detector.grey,
        detector.score_name,
        detector.least.tolist(),
        detector.tpr,
    )


def _exported(path: Path) -> Classifier:
    """Return the classifier in a file of `dismax.export.to_onnx`."""
    session = _session(path)
    image = session.get_inputs()[0].name
    channels, size, num_classes = _shape(path, session)

    def detect(pixels: Tensor) -> Detections:
        found = session.run(OUTPUTS, {image: pixels.numpy()})
        logits, probabilities, score, accepted = map(torch.from_numpy, found)
        return Detections(logits.argmax(1), probabilities, score, accepted, logits)

    try:
        known = _metadata(session.get_modelmeta().custom_metadata_map)
        names = known.get("class_names") or [str(number) for number in range(num_classes)]
        margin = int(known.get("margin", 0))
        if len(names) != num_classes:
            raise ValueError(f"{len(names)} names for {num_classes} classes")
        if len(set(names)) < num_classes:
            raise ValueError("two classes have one name")
        if margin < 0:
            raise ValueError(f"the margin is {margin}")
        return Classifier(
            detect,
            [str(name) for name in names],
            size,
            margin,
            channels,
            known.get("grey"),
            known.get("score"),
            _threshold(known["threshold"], num_classes) if "threshold" in known else None,
            float(known["tpr"]) if "tpr" in known else None,
        )
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} has damaged metadata ({error}): export the detector again"
        ) from error


def _shape(path: Path, session: Any) -> tuple[int, tuple[int, int], int]:
    """Return the channels and the (height, width) of a graph's images, and the number of classes.

    Raises ValueError for a graph that `dismax.export.to_onnx` did not write.
    """
    image = session.get_inputs()[0]
    shapes = {output.name: output.shape for output in session.get_outputs()}
    if not set(OUTPUTS) <= shapes.keys() or image.type != "tensor(uint8)" or len(image.shape) != 4:
        raise ValueError(
            f"{path} is no exported detector, which takes uint8 images [B, C, H, W] and returns "
            f"{', '.join(OUTPUTS)}"
        )
    _, channels, height, width = image.shape
    num_classes = shapes["logits"][1]
    if not all(isinstance(number, int) for number in (channels, height, width, num_classes)):
        raise ValueError(f"{path} does not tell the size of its images: export it with a size")
    if channels not in (1, 3):
        raise ValueError(f"{path} takes images of {channels} channels, and image files have 3 or 1")
    return channels, (height, width), num_classes


def _threshold(value: Any, num_classes: int) -> float | list[float]:
    """Return a threshold, or one for each class. Raises ValueError or TypeError for others."""
    if not isinstance(value, list):
        return float(value)
    if len(value) != num_classes:
        raise ValueError(f"a threshold is a float, or {num_classes} of them, got {len(value)}")
    return [float(number) for number in value]


def _session(path: Path) -> Any:
    """Return onnxruntime's session for a file. Raises ValueError in one line."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(
            f"{path} needs the package onnxruntime: pip install onnxruntime"
        ) from error
    if not path.is_file():
        raise ValueError(f"{path} is no file: name an exported detector")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # a damaged file raises almost anything
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is no ONNX file, or damaged ({reason})") from error


def _metadata(texts: dict[str, str]) -> dict[str, Any]:
    """Return the values in an ONNX file's metadata. The score's name is plain text, others JSON."""
    used = ("score", "class_names", "margin", "grey", "threshold", "tpr")
    return {
        key: texts[key] if key in NAMES else json.loads(texts[key]) for key in used if key in texts
    }
