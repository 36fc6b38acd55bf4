"""`python -m dismax`: what the package can do, and how."""

import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__

PACKAGE = """\
In your own project:
  dismax.replace_classifier(network, dismax.losses.DisMaxLossFirstPart)
                                      a new last layer for a network of yours
  dismax.losses.DisMaxLossSecondPart(head)
                                      the loss, instead of nn.CrossEntropyLoss
  dismax.calibrate(network, loader)   fits the temperature, sets the thresholds
  dismax.fit_temperature(logits, labels)
                                      fits the temperature to logits alone
  dismax.fit_score(network, "knn", train_loader, held_out_loader)
                                      fits another score for the detector
  dismax.Detector(network, ...)       probabilities, scores, accepted or not
  dismax.Detector.load("cifar10")     a small network that is included
  dismax.CalibratedNetwork(network, ...)
                                      a Detector for inputs that are no images
  dismax.drift(held_out_scores, window_scores, threshold)
                                      tells whether the images have changed
Begin with `import dismax`; help(dismax) says more.
"""
PROGRAMS = """
In this folder (README.md says more):
  bash run_digits.sh                  trains and compares four losses: minutes
  python predict.py cifar10 IMAGES    classifies, or refuses, photographs
  python main.py --help               trains one network
  python analyze.py --help            prints the tables
"""
ELSEWHERE = """
The programs that train and compare the methods are in the repository from
which this package is built.
"""


def main(arguments: Sequence[str]) -> None:
    """Print the version with --version, else the overview."""
    if "--version" in arguments:
        print(f"dismax {__version__}")
        return
    # The installed package holds the losses; in a checkout they are beside it.
    installed = (Path(__file__).parent / "losses").is_dir()
    print(f"dismax {__version__}: calibrated probabilities and out-of-distribution detection\n")
    print(PACKAGE + (ELSEWHERE if installed else PROGRAMS), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
