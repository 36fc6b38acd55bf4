"""What a run is built from: options that exclude each other, compiling, and CUDA graphs."""

from functools import partial

import numpy as np
import pytest
import torch

from data.images import Images
from data.sources import entry_of
from data.streaming import ImageFiles
from experiment.config import RunConfig
from experiment.data import Data
from experiment.parsing import parse
from tests.stepping import CPU, CUDA, trainer_of
from training import build
from utils.distributed import ALONE, World


def test_compiling_with_a_gradient_penalty_is_refused(run_main, tmp_path):
    status, _, err = run_main("--loss", "duq", "--compile")
    assert status == 2
    assert "--compile cannot go with --loss duq" in err
    assert not (tmp_path / "runs").exists()


def test_a_compiled_network_does_not_depend_on_the_size_of_the_first_batch(monkeypatch, tmp_path):
    """A resumed run may start with an epoch's smaller last batch. Each size is compiled alone."""
    compiled_for_any_size = []

    def backend(graph, inputs):
        compiled_for_any_size.append(any(isinstance(value, torch.SymInt) for value in inputs))
        return graph

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    config = parse(
        ["--compile", "--loss", "softmax", "--precision", "fp32", "--runs", str(tmp_path)]
    )
    trainer = build.build(config, CPU).trainer
    for size in (5, 7, 9):
        trainer.model(torch.zeros(size, 3, 8, 8))
    assert compiled_for_any_size == [False, False, False]


def data_of(from_files):
    """A run's data: ten small images, in files or in memory."""
    images = Images(
        torch.zeros(10, 3, 8, 8, dtype=torch.uint8), torch.arange(10), tuple("0123456789")
    )
    if from_files:
        images = ImageFiles(np.zeros(10, "S1"), images.labels, images.classes, (8, 8))
    return Data(images, {}, {}, (0.5,) * 3, (0.2,) * 3, entry_of("cifar10"), False)


@pytest.mark.parametrize(
    ("changes", "device", "processes", "from_files", "capturable", "reason"),
    [
        ({}, CUDA, 1, False, True, ""),
        ({}, CPU, 1, False, True, "cpu has none"),
        ({"cuda_graph": "off"}, CUDA, 1, False, True, "--cuda-graph is off"),
        ({}, CUDA, 2, False, True, "several processes train"),
        ({}, CUDA, 1, True, True, "the images are read from files"),
        ({}, CUDA, 1, False, False, "SoftMaxLossSecondPart cannot be captured"),
    ],
)
def test_the_reason_against_a_cuda_graph_is_named(
    changes, device, processes, from_files, capturable, reason
):
    criterion = trainer_of("softmax").criterion
    criterion.capturable = capturable
    config, data, world = RunConfig(**changes), data_of(from_files), World(0, processes)
    assert build.why_no_graph(config, data, criterion, device, world) == reason


@pytest.mark.parametrize("from_files", [False, True])
def test_a_trial_uses_a_cuda_graph_exactly_if_the_run_does(monkeypatch, from_files):
    """The images of a trial are always in memory. Those of its run may be in files."""

    def make_trainer(config, data, device, world, images, batch_size):
        return config, data, images

    monkeypatch.setattr(build, "make_trainer", make_trainer)
    config, data, images = build.trial(
        RunConfig(batch_size=4), data_of(from_files), CUDA, ALONE, "fp32"
    )
    assert isinstance(images, Images)
    criterion = trainer_of("softmax").criterion
    reason = build.why_no_graph(config, data, criterion, CUDA, ALONE)
    assert bool(reason) == from_files
