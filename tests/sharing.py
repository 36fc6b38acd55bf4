"""The first training steps of a loss, in one process or under torchrun:
`torchrun --nproc-per-node=N -m tests.sharing FILE LOSS...` saves the results of every process.

The batch norms stay in evaluation mode: on a CPU, a process's batch norms do not see the images of
the other processes.
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

# Two full batches and a smaller last one. Three processes get shares of different sizes.
COUNT = 46
BATCH = 16


def freeze_batch_norm(module: nn.Module) -> None:
    """If the module is a batch norm, keep it in evaluation mode."""
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        module.eval()
        module.train = lambda mode=True: module


def trained(loss: str, world: distributed.World) -> dict[str, torch.Tensor]:
    """The network's state after an epoch of three steps, and the epoch's loss and accuracy."""
    # With seed 1, an input of a ReLU in SoftMax's network is so near 0 that rounding changes its
    # sign, and so the gradient.
    torch.manual_seed(2)
    device = torch.device("cpu")
    row = LOSSES[loss]
    model = row.wrap(build_model("smallcnn", 4, row.head))
    model.apply(freeze_batch_norm)
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
    """The error message if the losses are NaN from step 3 on in the last process, and from step 4
    on in the others.
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
    with distributed.world(torch.device("cpu")) as processes:
        results = {loss: trained(loss, processes) for loss in sys.argv[2:]}
        results["first bad"] = first_bad_step(processes)
        results_of_all = processes.gather(results)
        if processes.first:
            torch.save(results_of_all, sys.argv[1])
