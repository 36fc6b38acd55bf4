"""A trained network to deploy: images in; classes, calibrated probabilities, scores, and whether each is in-distribution, out."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import versions
from .losses import LossFirstPart, get_loss
from .models import build_model


class Detections(NamedTuple):
    """What a detector says of a batch of B images."""

    classes: Tensor  # int64 [B], the most probable class
    probabilities: Tensor  # [B, C], at the fitted temperature
    scores: Tensor  # [B], higher is more in-distribution
    accepted: Tensor  # bool [B], whether the score reaches the threshold
    logits: Tensor  # [B, C], divided by the fitted temperature


def load_network(path: str | Path) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a run's model.pt, on the CPU in evaluation mode, and all else that the file says of it.

    Raises ValueError for a file that is damaged (its checksums are compared) or no such one, and for one of an earlier version
    whose weights would give other outputs now; OSError for one that cannot be read.
    """
    if Path(path).exists() and not Path(path).is_file():  # a pipe would be waited for
        raise ValueError(f"{path} is no regular file: delete it")
    written = io.BytesIO(Path(path).read_bytes())
    try:
        with zipfile.ZipFile(written) as archive:
            if part := archive.testzip():  # torch.load does not compare the checksums
                raise ValueError(f"{part} has another checksum")
        written.seek(0)
        saved = torch.load(written, map_location="cpu", weights_only=True)
        changed = versions.other_function(saved["config"])
        loss = get_loss(saved["config"]["loss"])
        network = loss.wrap(build_model(saved["config"]["model"], len(saved["classes"]), loss.head))
        network.load_state_dict(saved.pop("state_dict"))
        if missing := {"mean", "std", "classes", "size"} - saved.keys():
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    except Exception as error:  # damaged bytes raise almost anything
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path} is no run's network, or damaged ({reason}): make the run again") from error
    if changed:
        raise ValueError(f"{path}: its weights would give other outputs now ({'; '.join(changed)}): train this network again")
    return network.eval(), saved


class Detector(nn.Module):
    """A network with its normalisation, temperature and thresholds.

    Of a run's network it knows `size`, its training images' (height, width), and `margin`: larger images are resized to cover
    that size with a margin, and their centre is taken.

    Args:
        network: a trained one whose classifier is one of `dismax.losses`' heads, at its fitted temperature and with its thresholds
            set; it is copied. Its forward pass returns what the head does.
        mean, std: of each channel, of pixels in [0, 1], as the network was trained with.
        class_names: of the C classes, if they have names.
        tpr: the share of in-distribution images to accept, at least.

    Raises ValueError for a network with no such head or several, and for a share outside [0, 1]; RuntimeError for a head without
    thresholds.
    """

    def __init__(
        self, network: nn.Module, mean: Sequence[float], std: Sequence[float], class_names: Sequence[str] = (), tpr: float = 0.95
    ):
        super().__init__()
        self.size: tuple[int, int] | None = None
        self.margin = 0
        body = copy.deepcopy(network).eval()
        heads = [name for name, module in body.named_modules() if isinstance(module, LossFirstPart)]
        if len(heads) != 1 or not heads[0]:
            raise ValueError(
                f"a detector needs a network with one head of dismax.losses, {type(network).__name__} has {len(heads)}"
            )
        self.head = body.get_submodule(heads[0])
        body.set_submodule(heads[0], nn.Identity())  # so that it returns features
        self.body, self.class_names = body, tuple(class_names)
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))
        self.register_buffer("least", torch.tensor(self.threshold(tpr)))
        self.requires_grad_(False)

    @classmethod
    def load(cls, path: str | Path, tpr: float = 0.95) -> Detector:
        """The detector of a run's model.pt. Raises as `Detector` does, and ValueError for a file that is damaged or no such one."""
        network, saved = load_network(path)
        detector = cls(network, saved["mean"], saved["std"], saved["classes"], tpr)
        height, width = saved["size"]
        detector.size, detector.margin = (height, width), saved.get("margin", 0)
        return detector

    def threshold(self, tpr: float = 0.95) -> float:
        """The score that at least this share of in-distribution images reached. Raises ValueError for a share outside [0, 1]."""
        return self.head.threshold(tpr)

    def train(self, mode: bool = True) -> Detector:
        """Evaluation mode always: training mode would forget the calibration."""
        return super().train(False)

    def forward(self, images: Tensor) -> Detections:
        """What there is to say of images [B, 3, H, W], uint8 or floats in [0, 1]."""
        pixels = images if images.is_floating_point() else images.float() / 255  # said, since older exporters promote no uint8
        outputs = self.head.named_outputs(self.body((pixels - self.mean) / self.std))
        logits, scores = outputs["logits"] / self.head.temperature, self.head.scores(outputs)
        return Detections(logits.argmax(1), logits.softmax(1), scores, scores >= self.least, logits)
