"""Small networks and detectors for the tests of detectors."""

import torch
from torch import nn

import losses
from dismax.detector import Detector


class Ending(nn.Module):
    """A network of one linear layer and a head. `ending` is the end of its forward pass."""

    def __init__(self, ending, first_part=losses.DisMaxLossFirstPart, channels=3):
        super().__init__()
        self.ending = ending
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, 8))
        self.fc = first_part(8, 5)
        self.other = nn.Linear(8, 5)
        self.requires_grad_(False).eval()
        features = torch.randn(50, 8)
        self.fc.temperature.fill_(0.3)
        self.fc.set_thresholds(self.fc.scores(self.fc.named_outputs(features)))

    def forward(self, images):
        return self.ending(self, self.body(images))


def plainly(network, features):
    return network.fc(features)


def small(ending=plainly, channels=3, **options):
    """Return the detector of such a network."""
    torch.manual_seed(0)
    network = Ending(ending, channels=channels, **options)
    return Detector(network, (0.5,) * channels, (0.25,) * channels)
