"""A run, put together from its configuration: its data, and a trainer with its network and loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from data import sources
from data.batches import Normalizer, TrainingBatches, plain_batches
from data.images import Images
from data.streaming import ImageFiles, ImageSet
from experiment.config import RunConfig
from experiment.data import Data, load_data
from experiment.evaluation import EVALUATION_BATCH, classify, predict
from experiment.network import build_network, refuse_small_images
from experiment.recipes import RECIPES
from losses import LossSecondPart, get_loss
from models import Network
from utils import interruption, runtime
from utils.distributed import ALONE, World

from . import curves, precision
from .epoch_sums import NonFiniteLoss
from .graph import GraphedStep
from .trainer import Trainer


@dataclass
class Run:
    """Everything one run works with, once it is known to be possible."""

    config: RunConfig
    device: torch.device
    world: World
    data: Data
    trainer: Trainer

    @property
    def model(self) -> Network:
        """The network in training."""
        return self.trainer.model

    @property
    def why_no_graph(self) -> str:
        """Why training steps are not CUDA graphs; "" where they are."""
        return why_no_graph(self.config, self.data, self.trainer.criterion, self.device, self.world)

    def outputs(self, part: ImageSet) -> dict[str, Tensor]:
        """Collective: the head's named outputs for a set's images. Each process computes its share,
        or all of very few images.

        Raises NonFiniteLoss if a logit is NaN or infinite. Raises KeyboardInterrupt if a signal
        came and one process is alone.
        """
        own = self._share(part)
        outputs = predict(self.model, self._watched(own), self.trainer.context)
        if own is not part:
            outputs = {
                name: self.world.all_gather(value, len(part)) for name, value in outputs.items()
            }
        self._refuse_broken(not outputs["logits"].isfinite().all())
        return outputs

    def accuracy(self, part: ImageSet) -> float:
        """Collective: the share of a set's images that the network classifies rightly. The device
        counts; it is read once.

        Raises what `outputs` raises.
        """
        own = self._share(part)
        classes = classify(self.model, self._watched(own), self.trainer.context)
        found = torch.stack(
            [(classes == own.labels.to(self.device)).sum(), (classes < 0).sum()]
        ).tolist()
        right, broken, count = self.world.all_sum([*found, len(own)])
        self._refuse_broken(broken > 0)
        return right / count

    def _share(self, part: ImageSet) -> ImageSet:
        """This process's share of a set; the whole set if a process is alone, or if there are fewer
        images than processes.
        """
        if self.world.size == 1 or len(part) < self.world.size:
            return part
        return part.take(torch.arange(len(part))[self.world.shard(len(part))])

    def _refuse_broken(self, broken: bool) -> None:
        if broken:
            raise NonFiniteLoss(
                f"the logits became NaN or infinite by the end of epoch {self.trainer.epoch}"
            )

    def _watched(self, part: ImageSet) -> Iterator[Tensor]:
        for batch in plain_batches(
            part, self.trainer.batches.normalize, EVALUATION_BATCH, self.device
        ):
            # Several processes could not agree where to stop.
            if interruption.asked() and self.world.size == 1:
                raise KeyboardInterrupt
            yield batch


def build(config: RunConfig, device: torch.device, world: World = ALONE) -> Run:
    """Collective: load and check all that the run needs, and choose its precision if that is
    `auto`.

    Raises ValueError or an OSError, in one line, for what cannot work.
    """
    runtime.make_repeatable()
    runtime.keep_freed_memory()
    data = load_data(config)
    if config.precision == "auto":
        faster = precision.faster(
            lambda name: trial(config, name, data, device, world), device, world
        )
        config = replace(config, precision=faster)
    return Run(
        config,
        device,
        world,
        data,
        make_trainer(config, data, device, world, data.train, int(config.batch_size or 0)),
    )


def make_trainer(
    config: RunConfig,
    data: Data,
    device: torch.device,
    world: World,
    images: ImageSet,
    batch_size: int,
) -> Trainer:
    """A trainer with a new network.

    Args:
        config: of the run.
        data: of the run.
        device: where it trains.
        world: the processes that train together.
        images: what the trainer trains on: the run's training set, or a few images for a trial.
        batch_size: images a batch of those.

    Raises ValueError for a run that cannot be trained, whatever the images are.
    """
    recipe, epochs = RECIPES[str(config.recipe)], int(config.epochs or 0)
    normalize = Normalizer(data.mean, data.std, device)
    entry = sources.describe(config.data)
    # 4 at 32 pixels, as the paper has it; random crops are enough.
    padding = 0 if entry.side else max(data.train.size) // 8
    batches = TrainingBatches(
        images, normalize, batch_size, padding, entry.flip, device, world.size, world.shard
    )

    torch.manual_seed(config.seed)
    model = build_network(config, len(data.train.classes), device)
    refuse_small_images(config, model, data.train.size, device)
    criterion = get_loss(config.loss).criterion(model.classifier).to(device)
    refuse(
        config, data, criterion, device, world, min(int(config.batch_size or 0), len(data.train))
    )
    if config.sync_batchnorm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if config.compile:
        # A batch of another size would otherwise make PyTorch compile the network for any size,
        # with other rounding: what a run computes would depend on which of its batches came first,
        # the whole ones or a resumed epoch's last.
        model.compile(dynamic=False)
    capture = None if why_no_graph(config, data, criterion, device, world) else GraphedStep
    return Trainer(
        model, criterion, batches, recipe, epochs, config.seed, config.precision, world, capture
    )


def why_no_graph(
    config: RunConfig, data: Data, criterion: LossSecondPart, device: torch.device, world: World
) -> str:
    """Why training steps are not CUDA graphs; "" where they are."""
    if config.cuda_graph == "off":
        return "--cuda-graph is off"
    if device.type != "cuda":
        return f"{device.type} has none"
    if world.size > 1:
        return "several processes train"
    if isinstance(data.train, ImageFiles):
        return "the images are read from files"
    return "" if criterion.capturable else f"{type(criterion).__name__} cannot be captured"


def trial(config: RunConfig, name: str, data: Data, device: torch.device, world: World) -> Trainer:
    """A trainer like the run's, in the precision of that name, on a few random images: its steps
    are timed.
    """
    batch, steps = precision.sizes(device, int(config.batch_size or 0), world.size)
    pixels = torch.randint(256, (steps * batch, 3, *data.train.size), dtype=torch.uint8)
    few = Images(pixels, torch.arange(len(pixels)) % len(data.train.classes), data.train.classes)
    return make_trainer(replace(config, precision=name), data, device, world, few, batch)


def refuse(
    config: RunConfig,
    data: Data,
    criterion: LossSecondPart,
    device: torch.device,
    world: World,
    batch: int,
) -> None:
    """Raises ValueError for what the method or the machine cannot do; nothing is written."""
    if config.tensorboard:
        curves.check()
    if config.sync_batchnorm and (world.size == 1 or device.type != "cuda"):
        raise ValueError(
            "--sync-batchnorm is for several processes on GPUs: start it with torchrun, or leave "
            "it out"
        )
    if (config.compile or config.sync_batchnorm) and criterion.penalizes_inputs:
        option = "--compile" if config.compile else "--sync-batchnorm"
        raise ValueError(
            f"{option} cannot go with --loss {config.loss}, whose penalty needs second "
            "derivatives: leave it out"
        )
    if batch < 2 * world.size:
        raise ValueError(
            f"a batch of {batch} images is too small for {world.size} processes: each needs 2 or "
            "more"
        )
    # The smallest share.
    sample = torch.zeros(batch // world.size, 3, *data.train.size, dtype=torch.uint8)
    try:
        criterion.preprocess(sample, data.train.labels[: len(sample)], generator=torch.Generator())
    except ValueError as error:
        shared = f", shared by {world.size} processes" if world.size > 1 else ""
        raise ValueError(
            f"--loss {config.loss} cannot train on {config.data}, {len(data.train)} "
            f"images{shared}: {error}"
        ) from error
