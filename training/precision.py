"""Chooses fp32 or bf16 for `--precision auto`: the one in which the run's own steps are faster."""

import gc
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from experiment.config import Precision
from utils.distributed import World
from utils.program import out_of_memory

from .epoch_sums import NonFiniteLoss
from .trainer import Trainer

# bf16 must be more than this many times as fast. It rounds more, and at equal speed chance would
# choose.
GAIN = 1.1
EPOCHS = 3  # timed epochs; the fastest counts


def trial_size(device: torch.device, batch_size: int, processes: int) -> tuple[int, int]:
    """The batch size and the number of steps of a timed epoch.

    On a CPU the time per image hardly depends on the batch size, so small batches are enough. On a
    GPU the time depends on it, so the batches have the run's full size. There are enough steps for
    `graph.GraphedStep` to capture one in the first epoch, which is not timed.
    """
    if device.type == "cpu":
        return min(batch_size, 8 * processes), 1
    return batch_size, 8


def faster(
    make_trainer: Callable[[Precision], Trainer], device: torch.device, world: World
) -> Precision:
    """Collective: "bf16" if the device has it and it is more than `GAIN` times as fast, or "fp32".

    Args:
        make_trainer: makes a trainer like the run's in a named precision, with an epoch of
            `trial_size`.
        device: the device to train on.
        world: the processes that train together. The first one's times decide.
    """
    if not world.broadcast_from_first(_may_be_faster(device)):
        return "fp32"
    fp32 = _epoch_seconds(make_trainer, "fp32", world)
    bf16 = _epoch_seconds(make_trainer, "bf16", world)
    return world.broadcast_from_first("bf16" if fp32 > GAIN * bf16 else "fp32")


def _may_be_faster(device: torch.device) -> bool:
    """Whether bf16 is worth a trial on this device."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # A processor without bf16 instructions may need minutes for a step. One convolution tells.
    fp32, bf16 = [], []
    for _ in range(4):
        fp32.append(_convolution_seconds(torch.float32))
        bf16.append(_convolution_seconds(torch.bfloat16))
    return min(bf16) < min(fp32)


def _convolution_seconds(dtype: torch.dtype) -> float:
    """The seconds of a 3×3 convolution with 128 channels on the CPU, forward and backward."""
    inputs = torch.zeros(4, 128, 16, 16, dtype=dtype)
    inputs = inputs.to(memory_format=torch.channels_last).requires_grad_()
    weight = torch.zeros(128, 128, 3, 3, dtype=dtype)
    weight = weight.to(memory_format=torch.channels_last).requires_grad_()
    started = time.perf_counter()
    torch.nn.functional.conv2d(inputs, weight, padding=1).sum().backward()
    return time.perf_counter() - started


def _epoch_seconds(
    make_trainer: Callable[[Precision], Trainer], precision: Precision, world: World
) -> float:
    """The seconds of an epoch in a precision; infinity if the device has too little memory for it.

    NaN if the loss is not finite. NaN is not greater than any number, and nothing is greater than
    NaN, so that fp32 is chosen. In training a loss that is not finite is an error that names the
    epoch.

    Raises MemoryError if one of several processes has too little memory. It must end, because the
    others wait for it in the middle of a step.
    """
    seconds = []
    try:
        trainer = make_trainer(precision)
        # A learning rate of 0 keeps the loss finite.
        trainer.recipe = replace(trainer.recipe, learning_rate=0.0)
        for _ in range(1 + EPOCHS):
            started = time.perf_counter()
            trainer.run_epoch(lambda *_: None)  # waits for the device at its end
            seconds.append(time.perf_counter() - started)
    except NonFiniteLoss:
        return math.nan
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if world.size > 1:
            raise MemoryError(
                f"while --precision auto timed {precision}: name a precision, such as bf16"
            ) from error
        return math.inf
    finally:
        trainer = None
        gc.collect()  # a trainer and its graph refer to each other
        torch.cuda.empty_cache()  # has no effect without a GPU
    return min(seconds[1:])
