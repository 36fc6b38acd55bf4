"""Writes a detector for other programs: its computation as ONNX, its weights as safetensors."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from .checks import pair
from .detector import Detector
from .detectors.saved import outline
from .exported import FORMAT
from .files import whole_file, whole_files

OUTPUTS = ("logits", "probabilities", "score", "accepted")


class _Outputs(nn.Module):
    """A detector that returns its outputs in the order of `OUTPUTS`."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        detections = self.detector(images)
        return (
            detections.logits,
            detections.probabilities,
            detections.scores,
            detections.accepted,
        )


def _refuse_others(detector: object) -> None:
    """Raises TypeError for anything but a `Detector`, such as a `CalibratedNetwork`, and ValueError
    for a detector whose `least` was set by hand: its file would give `tpr` with another threshold.
    """
    if not isinstance(detector, Detector):
        raise TypeError(
            f"a dismax.Detector can be exported, got a {type(detector).__name__}: make one of the "
            "network and its normalisation"
        )
    if not detector.has_threshold_of_tpr():
        raise ValueError(
            f"the detector's `least` is not the threshold of its tpr, {detector.tpr:.4g}: set it "
            "by `tpr` or `set_thresholds`"
        )


def _examples(detector: Detector, size: tuple[int, int] | None) -> Tensor:
    """Return two uint8 images of this (height, width), with which the exporter traces.

    Raises ValueError, in one line, for a size for which the exporter would print pages.
    """
    if size is None:
        raise ValueError("the detector does not know its images' size: give size=(height, width)")
    try:
        images = torch.zeros(
            2, len(detector.mean), *pair(size), dtype=torch.uint8, device=detector.mean.device
        )
        detector(images)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(
            f"the network does not take images of {size[0]}×{size[1]} pixels ({reason}): give "
            "another size"
        ) from error
    return images


def describe(detector: Detector, size: tuple[int, int] | None) -> dict[str, str]:
    """Return the facts about a detector that its computation does not contain.

    `format` and `score` are names, the other values are JSON. `threshold` is a number, or a list of
    one for each class.

    Args:
        detector: on any device.
        size: (height, width) of its images in pixels, if it is known.
    """
    values = {
        "class_names": detector.class_names,
        "size": size,
        "margin": detector.margin,
        "grey": detector.grey,
        "mean": detector.mean.flatten().tolist(),
        "std": detector.std.flatten().tolist(),
        "temperature": detector.head.temperature.item(),
        "threshold": detector.least.tolist(),
        "tpr": detector.tpr,
    }
    return {"format": FORMAT, "score": detector.score_name} | {
        key: json.dumps(value) for key, value in values.items()
    }


def to_onnx(detector: Detector, path: str | Path, size: tuple[int, int] | None = None) -> None:
    """Write the detector as ONNX.

    The graph's input is `images`, uint8 [B, C, height, width] for any B; its outputs are `OUTPUTS`.
    The input is uint8 because floats must lie in [0, 1], and a graph cannot refuse others. The
    file's metadata is what `describe` returns.

    The file is written whole or not at all. Weights of more than 1.5 GB go into a second file
    beside it, PATH.data; if the process is killed between the two renamings, only the second file
    exists. Needs the packages onnx and onnxscript, and PyTorch 2.11 or newer (`pip install
    '.[export]'` in the repository).

    Args:
        detector: on any device.
        path: the file. Its folder is made if it does not exist.
        size: (height, width) of the images in pixels; by default that of the training images.

    Raises ValueError if neither the detector nor the call gives a size, for a detector whose
    `least` was set by hand, and for one that refuses images of that size; OSError if the file
    cannot be written.
    """
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ModuleNotFoundError(f"ONNX needs the package {package}: pip install {package}")
    _refuse_others(detector)
    size = size or detector.size
    images = _examples(detector, size)
    with whole_files(Path(path)) as temporary:
        exported = torch.onnx.export(
            _Outputs(detector).eval(),
            (images,),
            input_names=["images"],
            output_names=list(OUTPUTS),
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
            dynamo=True,
            verbose=False,
        )
        program = cast(torch.onnx.ONNXProgram, exported)
        program.model.metadata_props.update(describe(detector, size))
        # torch ignores external_data=False if the weights are too large for one file.
        program.save(str(temporary), external_data=False)


def to_safetensors(detector: Detector, path: str | Path) -> None:
    """Write the weights, temperature, thresholds and normalisation as safetensors.

    `Detector.load` reads the file. Its metadata is what `describe` returns, and how the head, the
    score and a run's network are made. The file is written whole or not at all; its folder is made
    if it does not exist. Needs the package safetensors (`pip install '.[export]'` in the
    repository).

    Raises OSError if the file cannot be written, and ValueError for a detector whose `least` was
    set by hand, and for a network with weights that safetensors cannot hold, such as those of
    torch.ao.quantization.
    """
    from safetensors.torch import save

    _refuse_others(detector)
    metadata = describe(detector, detector.size) | {
        "head": type(detector.head).__name__,
        "config": json.dumps(detector.config),
    }
    if detector.score:
        metadata["fitted_score"] = json.dumps(outline(detector.score.pack()))
    state = detector.state_dict()
    if others := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(
            f"safetensors holds tensors only, and {others[0]} is none: is the network quantized?"
        )
    # Copies, since safetensors refuses a tensor that two layers share.
    weights = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in state.items()
    }
    # `safetensors.torch.save_file` would make a file that only its owner can read.
    with whole_file(Path(path)) as temporary:
        temporary.write_bytes(save(weights, metadata))
