"""What a run is made of, put together from its configuration: shared by the programs that train and that judge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data import fingerprint, images, sources
from data.catalog import title_of
from data.streaming import ImageSet
from dismax import saved
from losses import LossSecondPart, get_loss
from models import Network, build_model
from utils import records, tensorboard
from utils.config import RunConfig
from utils.distributed import World
from utils.evaluation import classification_results, detection_results
from utils.recipes import RECIPES
from utils.titles import of_sources

EVALUATION_BATCH = 500


@dataclass(frozen=True)
class Data:
    """The images of a run."""

    train: ImageSet
    evaluation: dict[str, ImageSet]  # "test", and "validation" under the held-out protocol
    outside: dict[str, tuple[str, ImageSet]]  # source → role, images
    mean: Sequence[float]
    std: Sequence[float]
    notes: tuple[str, ...] = ()  # on what was left out of the sets, a line each

    @property
    def deciding(self) -> str:
        """The split that chooses the epoch and fits the temperature."""
        return "validation" if "validation" in self.evaluation else "test"

    @property
    def judged_on(self) -> dict[str, ImageSet]:
        """Split or source → images: everything that a trained network is judged by."""
        return self.evaluation | {source: part for source, (_, part) in self.outside.items()}


def load_data(config: RunConfig) -> Data:
    """All images of a run. Raises ValueError or an OSError, in one line, for what is bad or not there."""
    refuse_runs_among_images(config)
    train, test = sources.load_in(config.data, config.data_dir)
    reference = sources.reference(train)  # before any are left out, so that the same images give the same
    notes = [*train.notes, *test.notes]
    entry, evaluation = sources.by_recipe(config.data, config.recipe), {"test": test}
    if config.protocol == "heldout":
        train, evaluation["validation"] = sources.hold_out(train, entry.validation)
    train = train.take(sources.limited(len(train), config.limit_train))
    evaluation = {split: part.take(sources.limited(len(part), config.limit_eval)) for split, part in evaluation.items()}
    outside = {}
    for role, source in sources.ood_sets(config.data, config.ood, config.recipe):
        part = sources.load_out(source, config.data_dir, reference, entry.margin)
        notes += part.notes
        outside[source] = role, part.take(sources.limited(len(part), config.limit_eval))
    mean, std = entry.mean, entry.std
    if not (mean and std):
        mean, std = images.channel_statistics(train.batches(EVALUATION_BATCH))
    return Data(train, evaluation, outside, mean, std, tuple(notes))


def refuse_runs_among_images(config: RunConfig) -> None:
    """Raises ValueError for a --runs inside a folder of class folders: the runs would count as a class without images."""
    for split in (Path(config.data) / "train", Path(config.data) / "test"):
        if split.is_dir() and config.runs.resolve().is_relative_to(split.resolve()):
            raise ValueError(f"--runs {config.runs} lies among the images of {split}: name a folder elsewhere")


def build_network(config: RunConfig, num_classes: int, device: torch.device) -> Network:
    """A new network with the loss's head, changed as the loss asks for; its weights are drawn from torch's global generator."""
    loss = get_loss(config.loss)
    start = RECIPES[str(config.recipe)].start
    network = loss.wrap(build_model(str(config.model), num_classes, loss.head, start))
    return network.to(device, memory_format=torch.channels_last)  # as the batches are; faster on CPUs and GPUs


def refuse_small_images(config: RunConfig, network: Network, size: tuple[int, int], device: torch.device) -> None:
    """Raises ValueError for a (height, width) of which nothing is left where the network makes images smaller."""
    try:
        with torch.no_grad():
            network.eval().forward_features(torch.zeros(1, 3, *size, device=device))
    except RuntimeError as error:
        if "size" not in str(error):
            raise
        shown = "×".join(map(str, size))
        raise ValueError(
            f"--model {config.model} cannot take images of {shown} pixels: take larger ones, or another network"
        ) from error
    network.train()


def refuse(config: RunConfig, data: Data, criterion: LossSecondPart, device: torch.device, world: World, batch: int) -> None:
    """Raises ValueError, before anything is written, for what the method or the machine cannot do."""
    if config.tensorboard:
        tensorboard.check()
    if config.sync_batchnorm and (world.size == 1 or device.type != "cuda"):
        raise ValueError("--sync-batchnorm is for several processes on GPUs: start it with torchrun, or leave it out")
    if (config.compile or config.sync_batchnorm) and criterion.penalizes_inputs:
        option = "--compile" if config.compile else "--sync-batchnorm"
        raise ValueError(f"{option} cannot go with --loss {config.loss}, whose penalty needs second derivatives: leave it out")
    if batch < 2 * world.size:
        raise ValueError(f"a batch of {batch} images is too small for {world.size} processes: each needs 2 or more")
    sample = torch.zeros(batch // world.size, 3, *data.train.size, dtype=torch.uint8)  # the smallest share
    try:
        criterion.preprocess(sample, data.train.labels[: len(sample)], generator=torch.Generator())
    except ValueError as error:
        shared = f", shared by {world.size} processes" if world.size > 1 else ""
        raise ValueError(
            f"--loss {config.loss} cannot train on {config.data}, {len(data.train)} images{shared}: {error}"
        ) from error


def load_network(folder: Path, device: torch.device) -> nn.Module:
    """A run's trained network, in evaluation mode at its temperature. Raises ValueError if the folder does not hold it whole."""
    network, _ = saved.load_network(folder / records.MODEL)
    return network.to(device, memory_format=torch.channels_last)


def refuse_other_training_data(data: Data, record: Mapping[str, Any]) -> None:
    """Raises ValueError if a run was trained on other images or labels than these; a record of an earlier version does not say."""
    held = record.get("fingerprints", {}).get("train")
    if held is not None and held != fingerprint.of(data.train):
        raise ValueError("the training images or labels in --data-dir are others than those of the run: put them back as they were")


def evaluation_results(
    all_scores: Callable[[Mapping[str, Tensor], float], dict[str, Tensor]],
    outputs: Mapping[str, Mapping[str, Tensor]],
    labels: Mapping[str, Tensor],
    roles: Mapping[str, str],
    temperature: float,
) -> dict[str, Any]:
    """What a record says of named outputs: `classification` of each split with labels, `detection` of each source with a role."""
    at = {"t1": 1.0, "calibrated": temperature}
    detected = detection_results(all_scores, outputs["test"], {source: outputs[source] for source in roles}, at)
    titles = of_sources({source: title_of(source) for source in roles})
    detection = {
        source: {"title": titles[source], "role": role, "n": len(outputs[source]["logits"]), "scores": detected[source]}
        for source, role in roles.items()
    }
    classification = {split: classification_results(outputs[split]["logits"], labels[split], at) for split in labels}
    return {"classification": classification, "detection": detection}
