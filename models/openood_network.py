"""A network of ours that answers the calls of OpenOOD's evaluator and postprocessors."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn

from .network import Network
from .openood import is_linear


class OpenOODNetwork(nn.Module):
    """A copy of a network, in evaluation mode and at temperature 1, with the interface that
    OpenOOD's evaluator expects.

    `fc` is the head: features [B, D] to logits [B, C].

    Args:
        network: a network of ours, with any head.
    """

    def __init__(self, network: Network):
        super().__init__()
        self.network = deepcopy(network).eval()
        temperature = getattr(self.fc, "temperature", None)
        if temperature is not None:
            temperature.fill_(1)

    @property
    def fc(self) -> Any:
        """The head."""
        return self.network.classifier

    def forward(
        self, images: Tensor, return_feature: bool = False, return_feature_list: bool = False
    ) -> Any:
        """Return the logits [B, C], and more if it is asked for.

        Args:
            images: normalised [B, 3, H, W].
            return_feature: return (logits, features [B, D]).
            return_feature_list: return (logits, maps), with a feature map [B, channels, h, w] of
                the stem and of each resolution, as `Network.layer_maps` yields them.

        Raises ValueError for the maps of a network of a library, whose layers are not known.
        """
        if return_feature_list:
            if not self.network.has_layers:
                raise ValueError(
                    "return_feature_list needs a network whose layers are known, as those of "
                    "models/"
                )
            maps = list(self.network.layer_maps(images))
            return self.fc(maps[-1].mean((2, 3))), maps
        features = self.network.forward_features(images)
        logits = self.fc(features)
        return (logits, features) if return_feature else logits

    def get_fc(self) -> tuple[NDArray, NDArray]:
        """Return the weight [C, D] and the bias [C] of a linear head, as arrays.

        Raises ValueError for another head: the methods that ask for them do not apply to it.
        """
        if not is_linear(self.fc):
            raise ValueError(
                f"get_fc needs a linear head, this one is {type(self.fc).__name__}: take a method "
                "that does not ask for the head's weights, or a network with the SoftMax head"
            )
        return self.fc.weight.detach().cpu().numpy(), self.fc.bias.detach().cpu().numpy()
