#!/usr/bin/env python3
"""DisMax in a plain PyTorch training loop: the loss is two lines, the detection at inference one
more.

python example.py                     # the built-in digits, seconds on a laptop
python example.py --data cifar100     # once `bash prepare-cifar.sh cifar100` has fetched it
"""

from __future__ import annotations

if __name__ == "__main__":
    from utils import interruption

    interruption.begin()

import argparse
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import losses
from data import sources
from utils import interruption, program
from utils.calibration import fit_temperature


class Classifier(nn.Module):
    """Any network will do: what counts is that the last layer is the loss's first part."""

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
        self.classifier = losses.DisMaxLossFirstPart(num_features, num_classes)  # for nn.Linear

    def forward(self, images):
        return self.classifier(self.body(images).mean((2, 3)))


def as_dataset(part) -> TensorDataset:
    return TensorDataset(part.pixels.float() / 255, part.labels)


@torch.no_grad()
def infer(model, dataset, device):
    """Logits and labels of a data set."""
    model.eval()
    parts = [
        (model(images.to(device)).cpu(), labels) for images, labels in DataLoader(dataset, 500)
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="digits")
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    if options.epochs < 1:
        raise ValueError(f"--epochs must be 1 or more, got {options.epochs}")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(1)
    train, test = sources.load_in(options.data, Path("data/downloads"))
    train, validation = sources.hold_out(train, sources.describe(options.data).validation)

    model = Classifier(len(train.classes)).to(device)
    criterion = losses.DisMaxLossSecondPart(model.classifier)  # for nn.CrossEntropyLoss
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs)
    loader = DataLoader(as_dataset(train), batch_size=64, shuffle=True, drop_last=True)
    for epoch in range(options.epochs):
        model.train()
        for inputs, targets in loader:
            inputs, targets = inputs.to(device), targets.to(device)
            inputs, targets = criterion.preprocess(inputs, targets)  # before the forward pass
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        print(f"epoch {epoch + 1:3}: last loss {loss.item():.3f}")

    # Calibrate, and keep thresholds, on images that were not trained on.
    logits, labels = infer(model, as_dataset(validation), device)
    model.classifier.temperature.fill_(fit_temperature(logits, labels))
    logits, _ = infer(model, as_dataset(validation), device)
    model.classifier.set_thresholds(model.classifier.scores(logits))

    logits, labels = infer(model, as_dataset(test), device)
    threshold = model.classifier.threshold(tpr=0.95)
    print(
        f"accuracy {(logits.argmax(1) == labels).float().mean():.1%}, temperature "
        f"{model.classifier.temperature.item():.3g}"
    )
    print(
        f"accepted: {(model.classifier.scores(logits) >= threshold).float().mean():.1%} of the "
        "test images"
    )
    for role, source in sources.ood_sets(options.data, ()):
        pixels = sources.load_out(source, Path("data/downloads"), train.pixels).pixels
        logits, _ = infer(
            model, TensorDataset(pixels.float() / 255, torch.zeros(len(pixels))), device
        )
        print(
            f"accepted: {(model.classifier.scores(logits) >= threshold).float().mean():.1%} of "
            f"{source} ({role})"
        )


if __name__ == "__main__":
    interruption.listen()
    sys.exit(program.exit_status(main, "nothing is kept"))
