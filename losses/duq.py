"""DUQ, deterministic uncertainty quantification (van Amersfoort et al. 2020, arXiv 2003.02037)."""

import math

import torch
from torch import Tensor, nn

from .common import (
    being_recorded,
    in_backward,
    in_one_precision,
    in_torch_func,
    one_hot,
    sum_over_processes,
    without_autocast,
)
from .contract import LossFirstPart
from .criterion import LossSecondPart

# The paper's values for CIFAR-10.
LENGTH_SCALE = 0.1  # σ
MOMENTUM = 0.999  # γ
PENALTY = 0.5  # λ; 0.75 in another place of the reference code
# The averages of a class start as if it had had this many images with embeddings from N(0, 0.05²),
# as in the reference code.
FIRST_COUNT = 13.0
FIRST_SPREAD = 0.05


class DUQLossFirstPart(LossFirstPart):
    """Head with logits log K_j, K_j = exp(-‖W_j f - e_j‖²/(2nσ²)) in (0, 1], σ = 0.1.

    K_j is an RBF kernel around the centroid e_j [n] of class j. Softmax of the logits is K_j/Σ K,
    so calibration and all other scores work as they do for other heads. The score is the largest
    log K_j (MDS). It ranks images as the paper's largest K_j does, and still distinguishes images
    whose kernels round to 0.

    Parameters: `weight` W [C, n, D], from N(0, 2/(C·D)) as in the reference code, whose fan-in
    counts all classes. Buffers: `sums` m [C, n] and `counts` N [C]. The centroids are e = m/N.
    N starts at 13, and m at 13 times N(0, 0.05²). n is `num_features`, which is 512 for the paper's
    ResNet-18.
    """

    sums: Tensor
    counts: Tensor
    score_type = "MDS"

    def __init__(self, num_features: int, num_classes: int):
        super().__init__(num_features, num_classes)
        weight = torch.randn(num_classes, num_features, num_features)
        self.weight = nn.Parameter(weight * math.sqrt(2 / (num_classes * num_features)))
        self.register_buffer(
            "sums", FIRST_COUNT * FIRST_SPREAD * torch.randn(num_classes, num_features)
        )
        self.register_buffer("counts", torch.full((num_classes,), FIRST_COUNT))
        self._last: Tensor | None = None  # embeddings [B, C, n] of the last training batch

    def raw_logits(self, features: Tensor) -> Tensor:
        # W_j f [B, C, n]
        embeddings = torch.einsum("bd,cnd->bcn", *in_one_precision(features, self.weight))
        # Not inside a transform or a recording: their tensors cannot be used afterwards.
        if self.training and not (in_backward() or in_torch_func() or being_recorded()):
            self._last = embeddings.detach()
        centroids = self.sums / self.counts[:, None]
        return (embeddings - centroids).square().mean(2) / (-2 * LENGTH_SCALE**2)

    @torch.no_grad()
    def move_centroids(self, targets: Tensor) -> None:
        """Update the centroids with the embeddings of the last training batch.

        For each class, N ← γN + (1-γ)·(number of its images) and m ← γm + (1-γ)·Σ W_j f over its
        images, both over all processes that share the batch.

        Args:
            targets: class indices [B] of the batch.

        Raises:
            RuntimeError: if no batch of B images went through the head in training mode since the
                last update.
        """
        if self._last is None or len(self._last) != len(targets):
            raise RuntimeError(
                "DUQ's centroids move after a forward pass of the same images in training mode: "
                "there was none"
            )
        embeddings = self._last.to(self.sums.dtype)
        self._last = None
        with without_autocast(embeddings):
            members = one_hot(targets, self.num_classes, self.sums.dtype)  # [B, C]
            counts = members.sum(0)
            sums = torch.einsum("bcn,bc->cn", embeddings, members)
            self.counts.lerp_(sum_over_processes(counts), 1 - MOMENTUM)
            self.sums.lerp_(sum_over_processes(sums), 1 - MOMENTUM)


class DUQLossSecondPart(LossSecondPart[DUQLossFirstPart]):
    """Binary cross-entropy with a penalty on the inputs' gradient, as in the reference code:

        mean over images and classes of -[y_j log K_j + (1 - y_j) log(1 - K_j)]
        + λ · mean over images of (‖∇_x Σ_j K_j‖ - 1)²

    x is a network input, and λ = 0.5. The paper's equation sums the first term over the C classes.
    The reference code takes the mean, and does not divide the penalty by C.

    After each step the centroids are updated with the embeddings that the step was trained with.
    Embeddings of the network in evaluation mode would be wrong until its batch norms have settled,
    and they would stay in the averages for thousands of steps.
    """

    penalizes_inputs = True

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        is_label = one_hot(targets, logits.shape[1], logits.dtype)
        # log(1 - K) = log(-expm1(log K)). It would be infinite at K = 1.
        log_complement = torch.log(-torch.expm1(logits.clamp(max=-torch.finfo(logits.dtype).eps)))
        return -(is_label * logits + (1 - is_label) * log_complement).mean()

    def penalty(self, inputs: Tensor, logits: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(logits.exp().sum(), inputs, create_graph=True)
        return PENALTY * (torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square().mean()

    def after_step(self, model: nn.Module, inputs: Tensor, targets: Tensor, logits: Tensor) -> None:
        self.classifier.move_centroids(targets)
