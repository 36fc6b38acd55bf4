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
    """A step that is captured as a CUDA graph after three eager steps, and replayed from then on.

    In the eager steps, libraries choose algorithms and allocate workspaces. They cannot do that
    during a capture. The eager steps are part of the training. A capture computes nothing: the
    first replay is the fourth step.

    Args:
        step: a function that works on tensors on the device. These tensors must never move in
            memory. A Python value that it uses or returns must be the same in every step.
        generator: the generator that the step draws from, besides the device's default one.
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
            return self._run_eagerly()
        if self.graph is None:
            self.graph = self._capture()
        self.graph.replay()
        return self.result

    def _run_eagerly(self) -> Any:
        # On the stream of the capture, because autograd's nodes keep the stream of their first use.
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            result = self.step()
        current.wait_stream(self.stream)
        return result

    def _capture(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # a graph that is no longer used must not be freed during a capture
        try:
            # PyTorch keeps the state of a graph's generators on the current device.
            with torch.cuda.device(self.stream.device):
                # PyTorch 2.14 finds the generators itself, and warns that this call is not needed.
                with warnings.catch_warnings(action="ignore"):
                    # The capture registers the device's default generator.
                    graph.register_generator_state(self.generator)
                with torch.cuda.graph(graph, stream=self.stream):
                    self.result = self.step()
        except RuntimeError as error:
            # The end of a failed capture raises another error. The first one is the cause.
            cause: BaseException = error
            while isinstance(cause.__context__, RuntimeError):
                cause = cause.__context__
            if out_of_memory(cause):
                raise cause from None
            reason = str(cause).splitlines()[0]
            raise CaptureError(
                f"the training step cannot be a CUDA graph ({reason}): take --cuda-graph off"
            ) from error
        return graph
