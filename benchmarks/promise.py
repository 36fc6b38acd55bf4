"""Does a threshold accept the share of in-distribution images that it promises?

    python -m benchmarks.promise                     # simulated images
    python -m benchmarks.promise runs/digits         # the held-out and the test images of runs

The simulated images have three scores, which are normal and have a correlation of 0.5 with each
other. It shows how many new images the threshold for 95 % accepts, with one score and with the
combination of all three, and how often `drift` calls new images different from held-out ones.
"""

from pathlib import Path

import torch
import tyro
from tabulate import tabulate
from torch import Tensor, nn

from detectors.combined import Combined, LogP
from detectors.contract import Score
from dismax.detector import Detector
from dismax.monitoring import drift
from experiment import records, search
from experiment.config import RunConfig
from experiment.data import load_data
from losses.thresholds import percentiles, threshold_at

from .common import check_positive, start

TPR = 0.95
NEW = 10_000  # new images in a turn
WINDOW = 500  # images that drift compares with the held-out ones


class Column(Score):
    """A score that is a column of the features.

    Args:
        number: which column.
    """

    number: int

    def __init__(self, number: int):
        super().__init__(number=number)

    def forward(self, outputs, head):
        return outputs["features"][:, self.number]


def images(count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the outputs of simulated images: three correlated scores as features [count, 3]."""
    shared, own = torch.randn(count, 4, generator=generator).split((1, 3), dim=1)
    return {"features": (shared + own) / 2**0.5}


def combine(held_out: dict[str, Tensor]) -> Combined:
    """Return the combination of the three scores."""
    columns = {f"score{number}": Column(number) for number in range(3)}
    return Combined(**{name: LogP(score, score(held_out, None)) for name, score in columns.items()})


def accepted(scores: Tensor, held_out_scores: Tensor) -> float:
    """Return the share of scores that the threshold of held-out scores accepts."""
    return (scores >= threshold_at(percentiles(held_out_scores), TPR)).double().mean().item()


def simulate(count: int, repeats: int) -> list[list[str]]:
    """Return a row for one score and for the combined one, with `count` held-out images."""
    generator, head = torch.Generator().manual_seed(0), nn.Identity()
    shares, alarms = [], []
    for _ in range(repeats):
        held_out, others = images(count, generator), images(count, generator)
        new, window = images(NEW, generator), images(WINDOW, generator)
        one, combined = Column(0), combine(held_out)
        ranked = combined.held_out_scores()
        shares.append(
            [
                accepted(one(new, head), one(held_out, head)),
                accepted(combined(new, head), ranked),
            ]
        )
        pairs = [
            (one(held_out, head), one(window, head)),
            *((scores, combined(window, head)) for scores in (combined(held_out, head), ranked)),
            (combined(others, head), combined(window, head)),
        ]
        alarms.append(
            [
                drift(kept, seen, threshold_at(percentiles(kept), TPR)).differs
                for kept, seen in pairs
            ]
        )
    mean_shares = torch.tensor(shares).mean(0).tolist()
    mean_alarms = torch.tensor(alarms).double().mean(0).tolist()
    return [
        [str(count), *(f"{share:.1%}" for share in [*mean_shares, *mean_alarms])],
    ]


HEADS = [
    "held-out images",
    "accepted: one score",
    "combined",
    "drift's alarms: one score",
    "combined, scores of the fitted images",
    "held_out_scores()",
    "scores of other images",
]


def of_run(folder: Path) -> list[list[str]]:
    """Return a row for each score of a run: the shares of its images that are accepted."""
    config = RunConfig.from_json(records.read_record(folder / records.METRICS)["config"])
    sets = load_data(config).evaluation
    rows = []
    for score in ("own", "combined"):
        detector = Detector.load(folder / records.MODEL, tpr=TPR, score=score)
        shares = []
        for name in ("validation", "test"):
            parts = [detector(pixels).accepted for pixels in sets[name].batches(256)]
            shares.append(f"{torch.cat(parts).double().mean().item():.1%}")
        rows.append([str(folder), config.precision, score, *shares])
    return rows


def main(
    runs: tyro.conf.Positional[tuple[Path, ...]] = (),
    held_out: tuple[int, ...] = (40, 541),
    repeats: int = 1000,
) -> None:
    """Print the shares of images that are accepted.

    Args:
        runs: folders of runs, or folders above them. Without one, images are simulated.
        held_out: numbers of held-out images in the simulations.
        repeats: how often each simulation is made.
    """
    check_positive(repeats=repeats)
    torch.set_grad_enabled(False)
    heads = ["run", "precision", "score", "held-out images", "test images"] if runs else HEADS
    if runs:
        rows = [row for folder in search.run_folders(runs) for row in of_run(folder)]
    else:
        rows = [row for count in held_out for row in simulate(count, repeats)]
    print(tabulate(rows, heads, tablefmt="pipe", disable_numparse=True))


if __name__ == "__main__":
    start(main, __doc__)
