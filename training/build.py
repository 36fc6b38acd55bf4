"""Builds a run from its configuration: data, network, loss and trainer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch
from torch import nn

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from data.streaming import ImageFiles, ImageSet
from experiment.config import Precision, RunConfig
from experiment.data import Data, load_data, refuse_runs_among_images
from experiment.network import build_network, refuse_wrong_size
from losses import LossSecondPart, get_loss
from utils import runtime
from utils.distributed import ALONE, World

from . import curves, precision
from .graph import GraphedStep
from .run import Run
from .trainer import Trainer


def build(config: RunConfig, device: torch.device, world: World = ALONE) -> Run:
    """Collective: load and check all that the run needs. Chooses the precision if it is `auto`.

    Raises ValueError or OSError, in one line, if the run is not possible.
    """
    runtime.make_repeatable()
    runtime.keep_freed_memory()
    refuse_runs_among_images(config)
    data = load_data(config)
    if config.precision == "auto":
        make_trial = partial(trial, config, data, device, world)
        config = replace(config, precision=precision.faster(make_trial, device, world))
    trainer = make_trainer(config, data, device, world, data.train, config.batch_size)
    reason = why_no_graph(config, data, trainer.criterion, device, world)
    return Run(config, device, world, data, trainer, reason)


def make_trainer(
    config: RunConfig,
    data: Data,
    device: torch.device,
    world: World,
    images: ImageSet,
    batch_size: int,
) -> Trainer:
    """Make a trainer with a new network.

    Args:
        config: the run's configuration.
        data: the run's data.
        device: the device to train on.
        world: the processes that train together.
        images: the images to train on: the run's training set, or a few images for a trial.
        batch_size: the batch size for these images.

    Raises ValueError if the run cannot be trained, whatever `images` is.
    """
    batches = make_batches(data, images, batch_size, device, world)
    torch.manual_seed(config.seed)
    model = build_network(config, len(data.train.classes), device)
    refuse_wrong_size(config, model, data.train.size, device)
    criterion = get_loss(config.loss).criterion(model.classifier).to(device)
    refuse_impossible(config, data, criterion, device, world)
    if config.sync_batchnorm:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if config.compile:
        # With dynamic shapes, PyTorch would compile the network again for any batch size after the
        # first other one, with other rounding. A resumed run would compute other numbers.
        model.compile(dynamic=False)
    capture = None if why_no_graph(config, data, criterion, device, world) else GraphedStep
    return Trainer(
        model,
        criterion,
        batches,
        config.training,
        config.epochs,
        config.seed,
        config.precision,
        world,
        capture,
    )


def make_batches(
    data: Data, images: ImageSet, batch_size: int, device: torch.device, world: World
) -> TrainingBatches:
    """Make the augmented batches of images, with the data set's normalisation."""
    normalize = Normalizer(data.mean, data.std, device)
    # The paper pads images of 32 pixels by 4. Random crops of large images need no padding.
    padding = 0 if data.entry.side else max(data.train.size) // 8
    flip = data.entry.flip
    return TrainingBatches(
        images, normalize, batch_size, padding, flip, device, world.size, world.shard
    )


def why_no_graph(
    config: RunConfig, data: Data, criterion: LossSecondPart, device: torch.device, world: World
) -> str:
    """Why training steps are not CUDA graphs; "" if they are."""
    if config.cuda_graph == "off":
        return "--cuda-graph is off"
    if device.type != "cuda":
        return f"{device.type} has none"
    if world.size > 1:
        return "several processes train"
    if isinstance(data.train, ImageFiles):
        return "the images are read from files"
    return "" if criterion.capturable else f"{type(criterion).__name__} cannot be captured"


def trial(
    config: RunConfig, data: Data, device: torch.device, world: World, precision_name: Precision
) -> Trainer:
    """A trainer like the run's, in the named precision, on a few random images, to time it."""
    batch_size, steps = precision.trial_size(device, config.batch_size, world.size)
    pixels = torch.randint(256, (steps * batch_size, 3, *data.train.size), dtype=torch.uint8)
    labels = torch.arange(len(pixels)) % len(data.train.classes)
    images = Images(pixels, labels, data.train.classes)
    config = replace(config, precision=precision_name, weights=None)
    return make_trainer(config, data, device, world, images, batch_size)


def refuse_impossible(
    config: RunConfig, data: Data, criterion: LossSecondPart, device: torch.device, world: World
) -> None:
    """Raises ValueError for what the method or the machine cannot do."""
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
    batch_size = min(config.batch_size, len(data.train))
    if batch_size < 2 * world.size:
        raise ValueError(
            f"a batch of {batch_size} images is too small for {world.size} processes: each needs 2 "
            "or more"
        )
    smallest_share = batch_size // world.size
    pixels = torch.zeros(smallest_share, 3, *data.train.size, dtype=torch.uint8)
    try:
        criterion.preprocess(
            pixels, data.train.labels[:smallest_share], generator=torch.Generator()
        )
    except ValueError as error:
        shared = f", shared by {world.size} processes" if world.size > 1 else ""
        raise ValueError(
            f"--loss {config.loss} cannot train on {config.data}, {len(data.train)} "
            f"images{shared}: {error}"
        ) from error
