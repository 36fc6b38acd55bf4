"""What PyTorch may be doing with a head's computation besides running it: transforming, recording or repeating it."""

import torch

# PyTorch 2.6 does not say whether it exports.
_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def in_torch_func() -> bool:
    """Whether a transform of torch.func (vmap, grad, jvp, ...) is at work. They need rules that our `autograd.Function`s lack."""
    return not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active()


def being_recorded() -> bool:
    """Whether torch.jit.trace or torch.export is at work. They keep no gradient that is written by hand."""
    return _exporting() or torch.jit.is_tracing()


def in_backward() -> bool:
    """Whether a backward pass is at work: a forward pass in it is activation checkpointing's second one, of the same batch."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() >= 0
