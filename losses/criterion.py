"""What every criterion keeps: the second part of a loss, beside its head."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .contract import LossFirstPart
from .precision import at_least_float32, without_autocast


def _by_old_name(old: str, hook: Callable) -> Callable:
    """A hook that warns, when it is called, that its name has changed."""

    @wraps(hook)
    def warned(*arguments, **options):
        warnings.warn(f"{old} is now named {hook.__name__}", DeprecationWarning, stacklevel=2)
        return hook(*arguments, **options)

    return warned


Head = TypeVar("Head", bound=LossFirstPart)
# Hooks of users' criteria by their old names.
RENAMED = {"labelled": "unmixed", "undecayed": "no_decay_parameters"}


class LossSecondPart(nn.Module, Generic[Head]):
    """Base of all criteria: logits [B, C] (as the head returns them) and class indices [B] to a
    scalar.

    Its mode follows the head's: while `classifier.training` it is the training loss, afterwards
    plain cross-entropy of the logits. A subclass sets `entropic_scale` or overrides
    `training_loss`, and whichever hook its method needs.
    """

    entropic_scale: ClassVar[float] = 1.0  # E: multiplies the logits in the training loss only
    # Whether a training step can be captured as a CUDA graph (`before_epoch` and `after_epoch` are
    # no part of it). It cannot if it asks the device for a value, or uses a Python value that
    # changes during training, also one that `before_epoch` sets: the graph would go on with the old
    # value. A buffer may change.
    capturable: ClassVar[bool] = True
    # The loop lets gradients reach the inputs before it calls `penalty`.
    penalizes_inputs: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for old, new in RENAMED.items():
            if old in cls.__dict__:
                warnings.warn(
                    f"{cls.__name__}.{old} is now named {new}", DeprecationWarning, stacklevel=2
                )
                setattr(cls, new, cls.__dict__[old])
            elif (
                new in cls.__dict__
            ):  # each class has both names, so that super() finds the parent's hook by either
                setattr(cls, old, _by_old_name(old, cls.__dict__[new]))

    def __init__(self, classifier: Head):
        super().__init__()
        if not isinstance(classifier, LossFirstPart):
            raise TypeError(
                f"{type(self).__name__} takes the model's head (a LossFirstPart), got "
                f"{type(classifier).__name__}"
            )
        self._refer_to(classifier)

    def _refer_to(self, classifier: Head) -> None:
        # Not a submodule: the head's parameters belong to the model alone. And only a weak
        # reference: a criterion that is copied without its model would otherwise keep a copy of the
        # head that nothing trains. Now it has no head, and says so.
        self.__dict__["_classifier"] = weakref.ref(classifier)

    @property
    def classifier(self) -> Head:
        """The model's head.

        Raises RuntimeError if it is gone, as when the criterion was copied or loaded without the
        model.
        """
        head = self.__dict__["_classifier"]()
        if head is None:
            raise RuntimeError(
                f"the head of this {type(self).__name__} is gone: it was copied, loaded or kept "
                "without its network; "
                "make the criterion anew from the network's head"
            )
        return head

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_classifier": self.classifier}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._refer_to(state["_classifier"])

    def preprocess(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        generator: torch.Generator | None = None,
        tail: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Change a batch before the forward pass; the identity where there is nothing to do.

        Args:
            inputs: images [B, channels, H, W].
            targets: class indices [B].
            generator: source of randomness on the inputs' device; the global one by default.
            tail: whether this is an epoch's short last batch. If that is too small for the method,
                leave it as it is: do not raise.
        """
        return inputs, targets

    def unmixed(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The part of a preprocessed batch that was not mixed, so that its labels are true.

        Accuracy is computed on it.
        """
        return logits, targets

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The method's loss of logits [B, C] in float32 or wider."""
        return F.cross_entropy(self.entropic_scale * logits, targets.long())

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """A scalar: the training loss, or cross-entropy when the head is in evaluation mode.

        Raises ValueError for other shapes, for logits of another number of classes than the head's,
        and for targets that are no integers.
        """
        head = self.classifier
        if (
            logits.ndim != 2
            or targets.shape != logits.shape[:1]
            or targets.is_floating_point()
            or targets.is_complex()
        ):
            given = f"{list(logits.shape)} and {targets.dtype} {list(targets.shape)}"
            raise ValueError(
                f"the criterion takes logits [B, C] and class indices [B], got {given}"
            )
        if logits.shape[1] != head.num_classes:
            raise ValueError(
                f"the criterion got logits of {logits.shape[1]} classes, its head has "
                f"{head.num_classes}: are these the head's?"
            )
        with without_autocast(logits):
            logits = at_least_float32(logits)
            return (
                self.training_loss(logits, targets)
                if head.training
                else F.cross_entropy(logits, targets.long())
            )

    def penalty(self, inputs: Tensor, logits: Tensor) -> Tensor | float:
        """Added to the loss; `inputs` carry gradients if `penalizes_inputs`."""
        return 0.0

    def no_decay_parameters(self) -> list[nn.Parameter]:
        """The head's parameters that the method trains without weight decay."""
        return []

    def parameter_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        without = self.no_decay_parameters()
        decayed = [
            parameter
            for parameter in model.parameters()
            if all(parameter is not other for other in without)
        ]
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": without, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def before_epoch(self, epoch: int) -> None:
        """Called before each epoch's first step; epochs count from 1."""

    def after_step(self, model: nn.Module, inputs: Tensor, targets: Tensor, logits: Tensor) -> None:
        """Called after each optimizer step with the step's preprocessed batch and (detached)
        logits.
        """

    def after_epoch(self, epoch: int) -> None:
        """Called after each epoch's last step, before the model is evaluated."""


for _old, _new in RENAMED.items():
    setattr(LossSecondPart, _old, _by_old_name(_old, LossSecondPart.__dict__[_new]))
