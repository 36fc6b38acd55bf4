"""The first steps of every loss, under torchrun or not: `torchrun --nproc-per-node=N -m
tests.sharing FILE` saves what they give.

As the processes do not see each other's images in their batch norms (on a CPU), these stay in
evaluation mode.
"""

import sys

import torch
from torch import nn

from data.batches import Normalizer, TrainingBatches
from data.images import Images
from experiment.recipes import RECIPES
from losses import LOSSES
from models import build_model
from training.epoch_sums import EpochSums, NonFiniteLoss
from training.trainer import Trainer
from utils import distributed

# Two whole batches, of which three processes get different shares, and a tail.
COUNT, BATCH = 46, 16


def in_evaluation_mode(module: nn.Module) -> None:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.eval()
        module.train = lambda mode=True: module


def trained(loss: str, world: distributed.World) -> dict[str, torch.Tensor]:
    """The state after an epoch of three steps, and the epoch's loss and accuracy."""
    # With seed 1 SoftMax's network has an input of a ReLU so near 0 that rounding changes its sign,
    # and with it the gradient.
    torch.manual_seed(2)
    device, row = torch.device("cpu"), LOSSES[loss]
    model = row.wrap(build_model("smallcnn", 4, row.head))
    model.apply(in_evaluation_mode)
    pixels = torch.randint(
        256, (COUNT, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    images = Images(pixels, torch.arange(COUNT) % 4, ())
    batches = TrainingBatches(
        images,
        Normalizer((0.5,) * 3, (0.3,) * 3, device),
        BATCH,
        1,
        True,
        device,
        world.size,
        world.shard,
    )
    trainer = Trainer(
        model, row.criterion(model.classifier), batches, RECIPES["paper"], 2, 1, "fp32", world
    )
    summary = trainer.run_epoch(lambda *_: None)
    return model.state_dict() | {
        "loss": torch.tensor(summary.loss),
        "accuracy": torch.tensor(summary.accuracy),
    }


def first_bad_step(world: distributed.World) -> str:
    """What is said of losses that are no numbers from step 3 on in the last process, from step 4 on
    in the others.
    """
    sums = EpochSums(torch.device("cpu"))
    for step in range(1, 6):
        bad = step >= 3 + (world.rank < world.size - 1)
        sums.add(torch.tensor(torch.nan if bad else 1.0), 2, torch.eye(2), torch.arange(2))
    try:
        return str(sums.read(world))
    except NonFiniteLoss as error:
        return str(error)


if __name__ == "__main__":
    with distributed.world(torch.device("cpu")) as joined:
        found = {loss: trained(loss, joined) for loss in sys.argv[2:]}
        everywhere = joined.gather(found | {"first bad": first_bad_step(joined)})
        if joined.first:
            torch.save(everywhere, sys.argv[1])
