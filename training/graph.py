"""A training step as one CUDA graph: one call starts it instead of several hundred."""

import gc
import warnings
from collections.abc import Callable
from typing import Any

import torch

from utils.program import Failure, out_of_memory

WARM_UP = 3  # steps before the capture, as PyTorch's documentation advises


class CaptureError(Failure):
    """A training step could not be captured as a CUDA graph."""


class GraphedStep:
    """A step that runs eagerly three times, is then captured as a CUDA graph, and is replayed from
    then on.

    In the eager steps the libraries choose algorithms and allocate workspaces, which they cannot do
    during a capture. The eager steps are part of the training, so nothing has to be undone. A
    capture computes nothing: the replay after it is the fourth step.

    Args:
        step: a function of tensors on the device, which must stay where they are in memory. A
            Python value that it uses or returns must be the same in every step.
        generator: the one that the step draws from, besides the device's default one.
    """

    def __init__(self, step: Callable[[], Any], generator: torch.Generator):
        self.step, self.generator = step, generator
        self.stream = torch.cuda.Stream(generator.device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.warm_up_left = WARM_UP
        self.result: Any = None

    def __call__(self) -> Any:
        """Take a step.

        Returns what the step returns. Raises CaptureError if it cannot be captured.
        """
        if self.warm_up_left:
            self.warm_up_left -= 1
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
        gc.collect()  # a graph that is no longer used must not be freed during a capture
        try:
            # Where PyTorch keeps what the steps of a graph draw from.
            with torch.cuda.device(self.stream.device):
                # PyTorch 2.14 finds the generators itself, and says so.
                with warnings.catch_warnings(action="ignore"):
                    # The capture itself registers the default one.
                    graph.register_generator_state(self.generator)
                with torch.cuda.graph(graph, stream=self.stream):
                    self.result = self.step()
        except RuntimeError as error:
            cause: BaseException = error  # the end of a failed capture raises an error of its own
            while isinstance(cause.__context__, RuntimeError):
                cause = cause.__context__
            if out_of_memory(cause):
                raise cause from None
            reason = str(cause).splitlines()[0]
            raise CaptureError(
                f"the training step cannot be a CUDA graph ({reason}): take --cuda-graph off"
            ) from error
        return graph
