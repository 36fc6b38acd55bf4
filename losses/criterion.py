"""The base class of all criteria. A criterion is the second part of a loss; the head is the
first.
"""

from __future__ import annotations

import weakref
from typing import Any, ClassVar, Generic, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .common import at_least_float32, without_autocast
from .contract import LossFirstPart

Head = TypeVar("Head", bound=LossFirstPart)


class LossSecondPart(nn.Module, Generic[Head]):
    """Base of all criteria: a scalar from the head's logits [B, C] and class indices [B].

    The mode follows the head's. While `classifier.training` is true, it is the training loss.
    Otherwise it is plain cross-entropy of the logits. A subclass sets `entropic_scale` or overrides
    `training_loss`, and overrides the hooks that its method needs.
    """

    entropic_scale: ClassVar[float] = 1.0  # E: multiplies the logits in the training loss only
    # Whether a training step can be captured as a CUDA graph (without `before_epoch` and
    # `after_epoch`, which run outside the step). It cannot if it asks the device for a value, or if
    # it uses a Python value that changes during training, even one that `before_epoch` sets: the
    # graph would keep the old value. A buffer may change.
    capturable: ClassVar[bool] = True
    # Whether `penalty` needs the gradient of the inputs. The training loop then enables it.
    penalizes_inputs: ClassVar[bool] = False

    def __init__(self, classifier: Head):
        super().__init__()
        if not isinstance(classifier, LossFirstPart):
            raise TypeError(
                f"{type(self).__name__} takes the model's head (a LossFirstPart), got "
                f"{type(classifier).__name__}"
            )
        self._set_classifier(classifier)

    def _set_classifier(self, classifier: Head) -> None:
        # Not a submodule: the head's parameters belong to the model alone. And only a weak
        # reference: with a strong one, a criterion that is copied without its model would hold a
        # copy of the head that nothing trains. With a weak one it has no head, and raises an error.
        self.__dict__["_classifier"] = weakref.ref(classifier)

    @property
    def classifier(self) -> Head:
        """The model's head.

        Raises RuntimeError if the head is lost, for example because the criterion was copied or
        loaded without the model.
        """
        head = self.__dict__["_classifier"]()
        if head is None:
            raise RuntimeError(
                f"this {type(self).__name__} has lost its head: it was copied, loaded or kept "
                "without its network; make the criterion anew from the network's head"
            )
        return head

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_classifier": self.classifier}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._set_classifier(state["_classifier"])

    def preprocess(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        generator: torch.Generator | None = None,
        tail: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Change a batch before the forward pass. By default the batch does not change.

        Args:
            inputs: images [B, channels, H, W].
            targets: class indices [B].
            generator: source of randomness on the inputs' device; the global one by default.
            tail: whether this is the short last batch of an epoch. If it is too small for the
                method, train on it without the method: do not raise an error.
        """
        return inputs, targets

    def unmixed(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits and class indices of the images that `preprocess` did not mix.

        Their labels are true, so accuracy is computed on them.
        """
        return logits, targets

    def target_shapes(self, batch_size: int) -> list[tuple[int, ...]]:
        """Return the shapes of targets that `forward` accepts: [B], and what `preprocess` makes."""
        return [(batch_size,)]

    def training_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the method's loss of logits [B, C] in float32 or wider."""
        return F.cross_entropy(self.entropic_scale * logits, targets.long())

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return a scalar: the training loss, or cross-entropy if the head is in evaluation mode.

        Raises:
            ValueError: for other shapes, for logits of another number of classes than the head's,
                or for targets that are not integers.
        """
        head = self.classifier
        if (
            logits.ndim != 2
            or targets.shape not in self.target_shapes(len(logits))
            or targets.is_floating_point()
            or targets.is_complex()
        ):
            raise ValueError(
                "the criterion takes logits [B, C] and class indices [B], got "
                f"{list(logits.shape)} and {targets.dtype} {list(targets.shape)}"
            )
        if logits.shape[1] != head.num_classes:
            raise ValueError(
                f"the criterion got logits of {logits.shape[1]} classes, its head has "
                f"{head.num_classes}: are these the head's?"
            )
        with without_autocast(logits):
            logits = at_least_float32(logits)
            if head.training:
                return self.training_loss(logits, targets)
            return F.cross_entropy(logits, targets.long())

    def penalty(self, inputs: Tensor, logits: Tensor) -> Tensor | float:
        """Return what is added to the loss. `inputs` have gradients if `penalizes_inputs`."""
        return 0.0

    def no_decay_parameters(self) -> list[nn.Parameter]:
        """Return the head's parameters that the method trains without weight decay."""
        return []

    def parameter_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Return the optimizer's parameter groups: with weight decay and without.

        Parameters without `requires_grad` are in none.
        """
        no_decay = [each for each in self.no_decay_parameters() if each.requires_grad]
        no_decay_ids = {id(parameter) for parameter in no_decay}
        decay = [
            parameter
            for parameter in model.parameters()
            if parameter.requires_grad and id(parameter) not in no_decay_ids
        ]
        groups = [
            {"params": decay, "weight_decay": weight_decay},
            {"params": no_decay, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def before_epoch(self, epoch: int) -> None:
        """Run before the first step of each epoch. Epochs count from 1.

        Keep what it sets in buffers: a run that continues within an epoch does not call it again.
        """

    def after_step(self, model: nn.Module, inputs: Tensor, targets: Tensor, logits: Tensor) -> None:
        """Run after each optimizer step, with the step's preprocessed batch and its logits
        (detached).
        """

    def after_epoch(self, epoch: int) -> None:
        """Run after the last step of each epoch, before the model is evaluated."""
