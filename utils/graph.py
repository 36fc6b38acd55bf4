"""A training step as one CUDA graph: the host starts it with one call instead of several hundred."""

from collections.abc import Callable
from typing import Any, Protocol

import torch

from .command_line import out_of_memory

WARM_UP = 3  # steps before the capture, as PyTorch's documentation advises


class CaptureError(RuntimeError):
    """A training step could not be captured as a CUDA graph."""


class Criterion(Protocol):
    """What has to be known of a criterion."""

    capturable: bool


def why_not(asked: str, device: torch.device, processes: int, in_files: bool, criterion: Criterion) -> str:
    """Why the steps of a run are not captured; "" where they are.

    Args:
        asked: auto or off.
        device: where the run trains.
        processes: that train together.
        in_files: whether the host has to decode the images of each step.
        criterion: the method's.
    """
    reasons = {
        "--cuda-graph is off": asked == "off",
        f"{device.type} has none": device.type != "cuda",
        "several processes train": processes > 1,
        "the images are read from files": in_files,
        f"{type(criterion).__name__} cannot be captured": not criterion.capturable,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


class GraphedStep:
    """A step that runs eagerly three times, is then captured as a CUDA graph, and is replayed from then on.

    In the eager steps the libraries choose algorithms and allocate workspaces, which they cannot do in a capture. They are steps
    of the training, so nothing has to be undone after them. A capture computes nothing: the replay after it is the fourth step.

    Args:
        step: a function of tensors on the device, which must stay where they are in memory. Whatever Python value it uses or
            returns must be the same in every step.
        generator: which the step draws from, besides the device's default one.
    """

    def __init__(self, step: Callable[[], Any], generator: torch.Generator):
        self.step, self.generator = step, generator
        self.stream = torch.cuda.Stream(generator.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.eager = WARM_UP
        self.result: Any = None

    def __call__(self) -> Any:
        """Take a step. Returns what the step returns. Raises CaptureError if it cannot be captured."""
        if self.eager:
            self.eager -= 1
            return self._eagerly()
        if self.graph is None:
            self.graph = self._captured()
        self.graph.replay()
        return self.result

    def _eagerly(self) -> Any:
        # On the stream of the capture, so that autograd's nodes belong to it.
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = self.step()
        current.wait_stream(self.stream)
        return result

    def _captured(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)  # the default one is registered already
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self.result = self.step()
        except RuntimeError as error:
            if out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]
            raise CaptureError(f"the training step cannot be a CUDA graph ({reason}): take --cuda-graph off") from error
        return graph
