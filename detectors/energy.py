"""Energy (Liu et al. 2020, arXiv 2010.03759): minus the free energy, at temperature 1."""

from torch import Tensor

from .common import deployable
from .contract import FitData, Fitted, NotApplicable, Score


class Energy(Score):
    """log Σ exp ℓ for logits ℓ."""

    def forward(self, outputs, head):
        return outputs["logits"].logsumexp(1)


class ShapedEnergy(Score):
    """The energy of the head's logits for features that a subclass shapes."""

    def shape(self, features: Tensor) -> Tensor:
        """Return the shaped features [B, D]."""
        raise NotImplementedError

    def forward(self, outputs, head):
        return head.named_outputs(self.shape(outputs["features"]))["logits"].logsumexp(1)


def fit_energy(data: FitData) -> Fitted:
    """Return the detector whose score is the energy of the logits.

    Raises:
        NotApplicable: if the logits are log-probabilities, whose energy is 0 for every image.
    """
    if data.calibration.outputs["logits"].double().logsumexp(1).abs().max() < 1e-4:
        raise NotApplicable("the logits are log-probabilities, so every image has the energy 0")
    return deployable(Energy(), data)
