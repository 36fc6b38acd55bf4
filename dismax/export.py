"""A detector for other programs: ONNX for its computation, safetensors for its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from .detector import Detector

OUTPUTS = ("logits", "probabilities", "score", "accepted")


class _Outputs(nn.Module):
    """A detector whose outputs are in the order of `OUTPUTS`."""

    def __init__(self, detector: Detector):
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.detector(images)
        return found.logits, found.probabilities, found.scores, found.accepted


def to_onnx(detector: Detector, path: str | Path, size: tuple[int, int] | None = None) -> None:
    """Write the detector as ONNX: `images`, uint8 [B, 3, height, width] of any B, to the `OUTPUTS`.

    Needs the packages onnx and onnxscript (`pip install dismax[export]`).

    Args:
        detector: on the CPU.
        path: of the file.
        size: the images' (height, width); by default those that the network was trained on.

    Raises ValueError if neither the detector nor the call says what size the images are of.
    """
    if (size := size or detector.size) is None:
        raise ValueError("the detector does not know its images' size: give size=(height, width)")
    images = torch.zeros(2, 3, *size, dtype=torch.uint8)
    torch.onnx.export(
        _Outputs(detector).eval(),
        (images,),
        str(path),
        input_names=["images"],
        output_names=list(OUTPUTS),
        dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def to_safetensors(detector: Detector, path: str | Path) -> None:
    """Write the weights, temperature, thresholds and normalisation as safetensors, the class names in its metadata.

    Needs the package safetensors (`pip install dismax[export]`).
    """
    from safetensors.torch import save_file

    names = {f"class_{number}": name for number, name in enumerate(detector.class_names)}
    save_file({name: value.contiguous() for name, value in detector.state_dict().items()}, str(path), names)
