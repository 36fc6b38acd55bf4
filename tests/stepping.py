"""Trainers of a small network, and their steps taken eagerly, traced or as CUDA graphs."""

import contextlib
import dataclasses

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from dismax import archive
from experiment.recipes import RECIPES
from losses import LOSSES
from models import build_model
from training import checkpoint
from training.graph import GraphedStep
from training.trainer import Trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class TracedStep:
    """A step whose Python code runs once: at the first step, whose operations are recorded. Later
    steps repeat these.

    This is what a CUDA graph does, but that a capture computes nothing.
    """

    def __init__(self, step, generator):
        self.step, self.operations, self.result = step, None, None

    def __call__(self):
        if self.operations is None:

            def recorded():
                self.result = self.step()
                return torch.zeros(())

            self.operations = make_fx(recorded)()
        else:
            with torch.no_grad():  # the backward pass is among the operations
                self.operations()
        return self.result


def trainer_of(
    loss_name, device=CPU, capture=None, precision="fp32", recipe="openood", count=73, **changes
):
    """A trainer of a small network, with batches of 32 and a tail.

    The recipe's cosine changes the learning rate at every step.
    """
    torch.manual_seed(0)
    row = LOSSES[loss_name]
    model = row.wrap(build_model("smallcnn", 10, row.head)).to(
        device, memory_format=torch.channels_last
    )
    pixels = torch.randint(
        256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    images = Images(pixels, torch.arange(count) % 10, ())
    batches = TrainingBatches(
        images, Normalizer((0.5,) * 3, (0.2,) * 3, device), 32, 1, True, device
    )
    recipe = dataclasses.replace(RECIPES[recipe], **changes)
    criterion = row.criterion(model.classifier).to(device)
    return Trainer(model, criterion, batches, recipe, 3, 1, precision, capture=capture)


def state_of(trainer):
    """All that a step changes, as tensors by name, on the CPU."""
    state = trainer.state_dict()
    own = state["processes"][0]
    found = {f"parameter {name}": value for name, value in state["parameters"].items()}
    found |= {f"buffer {name}": value.nan_to_num(7) for name, value in own["buffers"].items()}
    found |= {
        f"momentum {key}": held["momentum_buffer"]
        for key, held in state["optimizer"]["state"].items()
    }
    generators = {
        name: own[name] for name in ("mixing", "global", "global_cuda") if own[name] is not None
    }
    return {
        name: value.cpu().clone()
        for name, value in (found | generators | {"drawn": state["drawn"]}).items()
    }


def assert_same(first, second):
    different = [name for name, value in first.items() if not value.equal(second[name])]
    assert not different


def trained(trainer, epochs=2):
    summaries = [trainer.run_epoch(lambda *_: None) for _ in range(epochs)]
    return state_of(trainer) | {
        "summaries": torch.tensor([[summary.loss, summary.accuracy] for summary in summaries])
    }


def gone_on(trainer, stop, resumed, path):
    """The state after three epochs: `trainer` is interrupted after so many steps, and `resumed`
    goes on from its checkpoint.
    """
    steps = iter(range(1, 100))

    def report(*_):
        if next(steps) == stop:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        for _ in range(3):
            trainer.run_epoch(report)
    assert next(steps) == stop + 1
    archive.save(path, trainer.state_dict())
    resumed.load_state_dict(checkpoint.load(path))
    while resumed.epoch < 3:
        resumed.run_epoch(lambda *_: None)
    return state_of(resumed)


def on_a_gpu(loss_name, capture=GraphedStep, precision="bf16", **changes):
    """A trainer on the GPU with six batches and a tail an epoch: the fourth batch is the first that
    a graph computes.
    """
    return trainer_of(loss_name, CUDA, capture, precision, count=201, **changes)


def make_trainer(head, make_criterion, epochs=2, seed=1, learning_rate=None, recipe="paper"):
    torch.manual_seed(seed)
    device = torch.device("cpu")
    model = build_model("smallcnn", 4, head)
    criterion = make_criterion(model.classifier)
    pixels = torch.randint(
        256, (44, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    normalize = Normalizer((0.5,) * 3, (0.3,) * 3, device)
    batches = TrainingBatches(
        Images(pixels, torch.arange(44) % 4, ()), normalize, 16, 1, True, device
    )
    how = RECIPES[recipe]
    if learning_rate:
        how = dataclasses.replace(how, learning_rate=learning_rate)
    return Trainer(model, criterion, batches, how, epochs, seed, "fp32")
