"""A run in memory: what it works with, and the network's outputs for a set of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from data.batches import plain_batches
from data.catalog import title_of
from data.images import EVALUATION_BATCH
from data.streaming import ImageSet
from experiment.config import RunConfig
from experiment.data import Data
from experiment.evaluation import classify, predict
from losses import get_loss
from models import Network, model_title
from utils import interruption
from utils.distributed import World

from .epoch_sums import NonFiniteLoss
from .trainer import Trainer


@dataclass
class Run:
    """Everything that one run works with. `build` makes it, and checks that the run is possible."""

    config: RunConfig
    device: torch.device
    world: World
    data: Data
    trainer: Trainer
    why_no_graph: str  # why training steps are not CUDA graphs; "" if they are

    @property
    def titles(self) -> dict[str, str]:
        """The titles of the data set, the network and the loss."""
        return {
            "data": title_of(self.config.data),
            "model": model_title(self.config.model),
            "loss": get_loss(self.config.loss).title,
        }

    @property
    def model(self) -> Network:
        """The network in training."""
        return self.trainer.model

    def outputs(self, images: ImageSet) -> dict[str, Tensor]:
        """Collective: the head's named outputs for all images, on the CPU.

        Each process computes its share of the images.

        Raises NonFiniteLoss if a logit is NaN or infinite, KeyboardInterrupt if a signal came and
        one process runs.
        """
        share = self._share(images)
        outputs = predict(self.model, self._batches(share), self.trainer.context)
        if share is not images:
            outputs = {
                name: self.world.all_gather(values, len(images)) for name, values in outputs.items()
            }
        self._refuse_non_finite(not outputs["logits"].isfinite().all())
        return outputs

    def accuracy(self, images: ImageSet) -> float:
        """Collective: the share of images that the network classifies correctly.

        The device counts, and the host reads the counts once. Raises the errors of `outputs`.
        """
        share = self._share(images)
        classes = classify(self.model, self._batches(share), self.trainer.context)
        correct = (classes == share.labels.to(self.device)).sum()
        non_finite = (classes < 0).sum()
        counts = torch.stack([correct, non_finite]).tolist()
        correct, non_finite, total = self.world.all_sum([*counts, len(share)])
        self._refuse_non_finite(non_finite > 0)
        return correct / total

    def _share(self, images: ImageSet) -> ImageSet:
        """This process's share of the images; all of them if there are fewer than processes."""
        if self.world.size == 1 or len(images) < self.world.size:
            return images
        return images.take(torch.arange(len(images))[self.world.shard(len(images))])

    def _refuse_non_finite(self, non_finite: bool) -> None:
        if non_finite:
            raise NonFiniteLoss(
                f"the logits became NaN or infinite by the end of epoch {self.trainer.epoch}: "
                "try a lower --learning-rate"
            )

    def _batches(self, images: ImageSet) -> Iterator[Tensor]:
        normalize = self.trainer.batches.normalize
        for batch in plain_batches(images, normalize, EVALUATION_BATCH, self.device):
            # Of several processes, each could stop at another batch.
            if interruption.asked() and self.world.size == 1:
                raise KeyboardInterrupt
            yield batch
