"""Trainers of small networks. Their steps run eagerly, traced, or as CUDA graphs."""

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

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def epoch_of(batches, seed, start=0):
    """The inputs and targets of each step of an epoch of `TrainingBatches`, from `start` on."""
    plan = batches.draw(torch.Generator().manual_seed(seed))
    rows = zip(plan.rows[start:], batches.shares[start:], strict=True)
    return [
        batches.batch(row[:, :count], pixels)
        for pixels, (row, count) in zip(batches.decoded(plan, start), rows, strict=True)
    ]


class TracedStep:
    """A training step whose Python code runs only once. The first step records its operations, and
    later steps repeat them.

    A CUDA graph does the same, except that recording a graph computes nothing.
    """

    def __init__(self, step, generator):
        self.step = step
        self.operations = None
        self.result = None

    def __call__(self):
        if self.operations is None:

            def recorded():
                self.result = self.step()
                return torch.zeros(())

            self.operations = make_fx(recorded)()
        else:
            with torch.no_grad():  # the recorded operations contain the backward pass
                self.operations()
        return self.result


def trainer_of(
    loss_name, device=CPU, capture=None, precision="fp32", recipe="openood", count=73, **changes
):
    """A trainer of a small network, with batches of 32 images and a smaller last one.

    The recipe's cosine changes the learning rate at every step.

    Args:
        capture: makes the step from a function, such as `TracedStep`; None: eager steps.
        count: the number of images.
        changes: fields of the recipe that are replaced.
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
    """Everything that a step changes: name → tensor on the CPU."""
    state = trainer.state_dict()
    process = state["processes"][0]
    tensors = {"drawn": state["drawn"]}
    for name, value in state["parameters"].items():
        tensors[f"parameter {name}"] = value
    for name, value in process["buffers"].items():
        tensors[f"buffer {name}"] = value.nan_to_num(7)
    for key, values in state["optimizer"]["state"].items():
        tensors[f"momentum {key}"] = values["momentum_buffer"]
    for generator in ("mixing", "global", "global_cuda"):
        if process[generator] is not None:
            tensors[generator] = process[generator]
    return {name: value.cpu().clone() for name, value in tensors.items()}


def assert_same(first, second):
    """Fail if two states of `state_of` differ in any bit."""
    different = [name for name, value in first.items() if not value.equal(second[name])]
    assert not different


def trained(trainer, epochs=2):
    """The state after some epochs, with the loss and accuracy of each epoch."""
    summaries = [trainer.run_epoch(lambda *_: None) for _ in range(epochs)]
    return state_of(trainer) | {
        "summaries": torch.tensor([[summary.loss, summary.accuracy] for summary in summaries])
    }


def interrupted_and_resumed(trainer, stop, resumed, path):
    """The state after three epochs: `trainer` is interrupted after `stop` steps, and `resumed`
    continues from its checkpoint.
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
    """A trainer on the GPU.

    An epoch has six batches of 32 images and a smaller last one. The fourth batch is the first one
    that the CUDA graph computes.
    """
    return trainer_of(loss_name, CUDA, capture, precision, count=201, **changes)


def make_trainer(head, make_criterion, epochs=2, seed=1, learning_rate=None, recipe="paper"):
    """A trainer on the CPU with 44 images of 4 classes, in batches of 16."""
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
    settings = RECIPES[recipe]
    if learning_rate:
        settings = dataclasses.replace(settings, learning_rate=learning_rate)
    return Trainer(model, criterion, batches, settings, epochs, seed, "fp32")
