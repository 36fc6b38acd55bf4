"""Which precision `--precision auto` takes: the one in which the run's own training steps are
faster.
"""

import gc
import math
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from utils.distributed import World
from utils.program import out_of_memory

from .trainer import Trainer

# Bf16 has to be more than this many times as fast: it rounds more, and if both were equally fast,
# chance would choose.
GAIN = 1.1
TURNS = 3  # epochs that are timed; the fastest counts


def sizes(device: torch.device, batch_size: int, processes: int) -> tuple[int, int]:
    """The batch size and the number of steps of a timed epoch.

    A CPU takes small batches: its time an image hardly depends on the batch size. A GPU's does, so
    it takes whole ones. There the first epoch, which is not timed, has steps enough for
    `graph.GraphedStep` to capture one.
    """
    return (min(batch_size, 8 * processes), 1) if device.type == "cpu" else (batch_size, 8)


def faster(training: Callable[[str], Trainer], device: torch.device, world: World) -> str:
    """Collective: bf16 where the hardware has it and training is more than `GAIN` times as fast in
    it, else fp32.

    Args:
        training: makes a trainer in the precision of that name, like the run's, with an epoch of
            `sizes`.
        device: where it trains.
        world: the processes that train together. The times of the first one decide.
    """
    if not world.broadcast_from_first(_may_gain(device)):
        return "fp32"
    single, half = (_seconds(training, name, world) for name in ("fp32", "bf16"))
    return world.broadcast_from_first("bf16" if single > GAIN * half else "fp32")


def _may_gain(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # A processor without bf16 instructions may need minutes for a step. One convolution shows it in
    # a moment.
    pairs = [
        (_convolution_seconds(torch.float32), _convolution_seconds(torch.bfloat16))
        for _ in range(4)
    ]
    single, half = map(min, zip(*pairs, strict=True))
    return half < single


def _convolution_seconds(dtype: torch.dtype) -> float:
    """What a 3×3 convolution with 128 channels takes on the CPU, forward and backward."""
    inputs = (
        torch.zeros(4, 128, 16, 16, dtype=dtype)
        .to(memory_format=torch.channels_last)
        .requires_grad_()
    )
    weight = (
        torch.zeros(128, 128, 3, 3, dtype=dtype)
        .to(memory_format=torch.channels_last)
        .requires_grad_()
    )
    started = time.perf_counter()
    torch.nn.functional.conv2d(inputs, weight, padding=1).sum().backward()
    return time.perf_counter() - started


def _seconds(training: Callable[[str], Trainer], name: str, world: World) -> float:
    """The seconds of an epoch in a precision; infinity where the device has too little memory for
    it.

    Raises MemoryError for too little memory in one of several processes: it must end, since the
    others wait for it in mid-step.
    """
    taken = []
    try:
        trainer = training(name)
        # So that its loss cannot become NaN.
        trainer.recipe = replace(trainer.recipe, learning_rate=0.0)
        for _ in range(1 + TURNS):
            started = time.perf_counter()
            trainer.run_epoch(lambda *_: None)  # its end waits for the device
            taken.append(time.perf_counter() - started)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        if world.size > 1:
            raise MemoryError(
                f"while --precision auto timed {name}: name a precision, such as bf16"
            ) from error
        return math.inf
    finally:
        trainer = None
        gc.collect()  # a trainer and its graph hold each other
        torch.cuda.empty_cache()  # no effect where no GPU was used
    return min(taken[1:])
