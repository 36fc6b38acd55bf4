"""Checks whether PyTorch transforms, records or repeats a computation rather than only runs it."""

import torch

# PyTorch 2.6 has no torch.compiler.is_exporting.
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def in_torch_func() -> bool:
    """Return whether a transform of torch.func (vmap, grad, jvp, ...) is active.

    Our `autograd.Function`s do not have the rules that it needs.
    """
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def being_recorded() -> bool:
    """Return whether torch.jit.trace or torch.export is active.

    They ignore gradients that are written by hand.
    """
    return _exporting() or torch.jit.is_tracing()


def in_backward() -> bool:
    """Return whether a backward pass is running.

    A forward pass inside it belongs to activation checkpointing, which repeats the same batch.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0
