"""A plugin with three variants of FPR: `--loss dismax_growing`, `dismax_blended`, `dismax_quarter`.

They differ from DisMax with FPR only in how many images of a batch are mosaics, or in how these are
made.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from losses import LOSSES, DisMaxLossFirstPart, DisMaxLossSecondPart, Loss, fpr


class OtherMosaics(DisMaxLossSecondPart):
    """DisMax in which another share of the batch becomes mosaics.

    The training loss is the mean over the batch of CE(E·logits) of a plain image and
    KL(q ‖ softmax(E·logits)) of a mosaic. With a share of a half this is DisMax's.
    """

    capturable = False  # the share is read from the device, and a mask selects the plain images
    first_share = 0.5

    def __init__(self, classifier: DisMaxLossFirstPart):
        super().__init__(classifier)
        # A buffer, since a checkpoint within an epoch keeps no other state.
        self.register_buffer("share", torch.tensor(self.first_share, dtype=torch.float64))

    def mosaics(self, images: Tensor) -> Tensor:
        """Return mosaics [M, channels, H, W] of images of that shape."""
        return fpr.mosaics(images)

    def preprocess(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        generator: torch.Generator | None = None,
        tail: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Shuffle the batch, and turn the share of images at its end into mosaics.

        A batch with fewer than four such images stays plain.

        Returns:
            The inputs, and class indices [B, 4] as DisMax's.
        """
        if not self.classifier.training:
            return inputs, targets
        mixed = round(self.share.item() * len(inputs))
        plain = len(inputs) - (mixed if mixed >= fpr.SOURCES else 0)
        order = torch.randperm(len(inputs), device=inputs.device, generator=generator)
        inputs, targets = inputs[order], targets[order].long()
        classes = torch.stack([targets[plain:].roll(n) for n in range(fpr.SOURCES)], dim=1)
        marked = F.pad(targets[:plain, None], (0, fpr.SOURCES - 1), value=fpr.NO_CLASS)
        if plain < len(inputs):
            inputs = torch.cat([inputs[:plain], self.mosaics(inputs[plain:])])
        return inputs, torch.cat([marked, classes])

    def unmixed(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if targets.ndim == 1:
            return logits, targets
        is_plain = targets[:, 1] == fpr.NO_CLASS
        return logits[is_plain], targets[is_plain, 0]

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        plain, labels = self.unmixed(logits, targets)
        is_mosaic = targets[:, 1] != fpr.NO_CLASS
        q = fpr.fractional_targets(targets[is_mosaic], logits.shape[1], logits.dtype)
        log_p = F.log_softmax(self.entropic_scale * logits[is_mosaic], dim=1)
        ce = F.cross_entropy(self.entropic_scale * plain, labels, reduction="sum")
        return (ce + F.kl_div(log_p, q, reduction="sum")) / len(logits)


class GrowingShare(OtherMosaics):
    """The share of mosaics is (n - 1)/20 in epoch n, and at most a half."""

    def before_epoch(self, epoch: int) -> None:
        self.share.fill_(min(0.5, (epoch - 1) / 20))


class QuarterOfTheBatch(OtherMosaics):
    """A quarter of the batch is mosaics."""

    first_share = 0.25


class BlendedSeams(OtherMosaics):
    """The four images of a mosaic fade into each other over 8 pixels around the seams.

    Each image still has a quarter of the mosaic's weight.
    """

    width = 8

    def mosaics(self, images: Tensor) -> Tensor:
        down, right = (
            ((torch.arange(size, device=images.device) + 0.5 - size / 2) / self.width + 0.5)
            .clamp(0, 1)
            .to(images.dtype)
            for size in images.shape[-2:]
        )
        down = down[:, None]
        weights = (1 - down) * (1 - right), down * (1 - right), (1 - down) * right, down * right
        blended = torch.zeros_like(images)
        for places, weight in enumerate(weights):
            blended += weight * images.roll(places, 0)
        return blended


for name, title, criterion in (
    ("dismax_growing", "DisMax, growing share of mosaics", GrowingShare),
    ("dismax_blended", "DisMax, blended seams", BlendedSeams),
    ("dismax_quarter", "DisMax, a quarter mosaics", QuarterOfTheBatch),
):
    LOSSES[name] = Loss(title, DisMaxLossFirstPart, criterion)
