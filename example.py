#!/usr/bin/env python3
"""DisMax in an ordinary PyTorch program: train, calibrate, set a threshold, detect.

python example.py                     # the built-in digits: seconds on a laptop
python example.py --data cifar100     # after `bash prepare-cifar.sh cifar100`

It holds out some of the training images for the temperature. A folder's own `val` is not used.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin()

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import losses
from data import sources, splits
from utils import program
from utils.calibration import fit_temperature

DATA = Path("data/downloads")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Classifier(nn.Module):
    """A small network. Any network can be used if its last layer is the first part of the loss."""

    def __init__(self, num_classes: int, num_features: int = 64):
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in (
            (3, 32, 1),
            (32, 32, 1),
            (32, num_features, 2),
            (num_features, num_features, 1),
        ):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.body = nn.Sequential(*layers)
        # Instead of nn.Linear:
        self.classifier = losses.DisMaxLossFirstPart(num_features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images).mean((2, 3)))


def as_dataset(images) -> TensorDataset:
    """Return images of this repository as a PyTorch data set, with pixels in [0, 1]."""
    return TensorDataset(images.pixels.float() / 255, images.labels)


def train(model: Classifier, dataset: TensorDataset, epochs: int) -> None:
    """Train the model. Two lines differ from training with nn.CrossEntropyLoss."""
    criterion = losses.DisMaxLossSecondPart(model.classifier)  # instead of nn.CrossEntropyLoss
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    loader = DataLoader(dataset, batch_size=64, shuffle=True, drop_last=True)
    loss = torch.tensor(torch.nan)  # if there are too few images for a batch
    for epoch in range(epochs):
        model.train()
        for inputs, targets in loader:
            inputs, targets = inputs.to(DEVICE), targets.to(DEVICE)
            inputs, targets = criterion.preprocess(inputs, targets)  # before the forward pass
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch + 1:3}: last loss {loss.item():.3f}")


@torch.no_grad()
def infer(model: Classifier, dataset: TensorDataset) -> tuple[Tensor, Tensor]:
    """Return the logits [N, C] and labels [N] of a data set."""
    model.eval()
    batches = DataLoader(dataset, batch_size=500)
    logits = [model(images.to(DEVICE)).cpu() for images, _ in batches]
    return torch.cat(logits), dataset.tensors[1]


def calibrate(model: Classifier, held_out: TensorDataset) -> None:
    """Fit the temperature, then set the thresholds, on images that were not used for training."""
    head = model.classifier
    head.temperature.fill_(fit_temperature(*infer(model, held_out)))
    logits, _ = infer(model, held_out)  # now divided by the temperature
    head.set_thresholds(head.scores(logits))


def share_accepted(model: Classifier, logits: Tensor) -> float:
    """Return the share of images that the model accepts as in-distribution."""
    head = model.classifier
    return (head.scores(logits) >= head.threshold(tpr=0.95)).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    if options.epochs < 1:
        raise ValueError(f"--epochs must be 1 or more, got {options.epochs}")
    torch.manual_seed(1)
    training_images, test = sources.load_train_and_test(options.data, DATA)
    share = sources.entry_of(options.data).validation
    training_images, held_out = splits.hold_out(training_images, share)

    model = Classifier(len(training_images.classes)).to(DEVICE)
    train(model, as_dataset(training_images), options.epochs)
    calibrate(model, as_dataset(held_out))

    logits, labels = infer(model, as_dataset(test))
    accuracy = (logits.argmax(1) == labels).float().mean()
    print(f"accuracy {accuracy:.1%}, temperature {model.classifier.temperature.item():.3g}")
    print(f"accepted: {share_accepted(model, logits):.1%} of the test images")
    for role, source in sources.ood_sets(options.data, ()):
        images = sources.load_ood(source, DATA, sources.reference_image(training_images))
        logits, _ = infer(model, as_dataset(images))
        print(f"accepted: {share_accepted(model, logits):.1%} of {source} ({role})")


if __name__ == "__main__":
    interruption.listen()
    sys.exit(program.exit_status(main, "nothing is kept"))
