"""Whether PyTorch is transforming, recording or repeating a head's computation, and not only
running it.
"""

import torch

# PyTorch 2.6 has no torch.compiler.is_exporting.
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def in_torch_func() -> bool:
    """Whether a transform of torch.func (vmap, grad, jvp, ...) is at work.

    Our `autograd.Function`s lack the rules it needs.
    """
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def being_recorded() -> bool:
    """Whether torch.jit.trace or torch.export is at work.

    They drop gradients that are written by hand.
    """
    return _exporting() or torch.jit.is_tracing()


def in_backward() -> bool:
    """Whether a backward pass is running.

    A forward pass inside it is activation checkpointing, which repeats the same batch.
    """
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0
