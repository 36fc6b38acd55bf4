"""Writes the tables of this study's page from the records, and its answers by the page's rules."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import pandas as pd

from losses import LOSSES
from reporting.reading import read_runs
from results.schedule_or_capacity.values import Record, accuracy, auroc, detector_auroc

FOLDER = Path(__file__).parent
NETWORK = "wideresnet102"
SEEDS = {4: (1, 2, 3), 15: (4, 5, 6)}  # of the trial and of the judgement, by epochs
LOSS_TITLES = {"dismax_nofpr": "without FPR", "dismax": "with FPR"}
# Title of a set → its name in the table.
SETS = {
    "CIFAR-100": "CIFAR-100",
    "SVHN-crops": "SVHN",
    "TinyImageNet-32": "TinyImageNet",
    "Scenes-32": "scenes",
}
Runs = dict[tuple[str, int, int], Record]  # (loss, epochs, seed) → record


def all_runs() -> Runs:
    """Return the runs of this study, and those of WideResNet-10-2 with the usual start."""
    folders = [FOLDER / "runs", FOLDER.parent / "schedule_or_capacity" / "runs"]
    records = read_runs([folder for folder in folders if folder.exists()])[0].values()
    return {
        (config["loss"], config["epochs"], config["seed"]): record
        for record in records
        if (config := record["config"])["model"] == NETWORK
    }


def lowest(record: Record) -> float:
    """Return the lowest AUROC of MMLES on the sets."""
    return min(auroc(title, "MMLES")(record) for title in SETS)


def write_turned(column: str, images: str) -> None:
    """Print the mean over seeds of a column of turned.csv with the usual start, for a set."""
    usual = [LOSSES[name].title for name in LOSS_TITLES]
    rows = pd.read_csv(FOLDER / "turned.csv").query("set == @images")
    rows = rows[rows.loss.isin(usual)]
    groups = rows.groupby(["network", "epochs", "loss"], sort=False)
    numbers = groups[column].agg(["mean", "size"])
    number = "{:.1%}" if column == "auroc" else "{:.2f}"
    cells = numbers.apply(
        lambda row: number.format(row["mean"]) + f" (n={row['size']:.0f})", axis=1
    )
    print(cells.unstack("loss", fill_value="").reset_index().to_markdown(index=False))


def write_short() -> None:
    """Print the runs of the short start in turned.csv, with AUROCs in percent."""
    rows = pd.read_csv(FOLDER / "turned.csv").query("loss.str.endswith('short prototypes')")
    runs = ["loss", "epochs", "seed", "cosine"]
    table = (100 * rows.set_index([*runs, "set"]).auroc.unstack()).reset_index()
    table = table[[*runs, "SVHN-crops", "mosaics"]].round(
        {"cosine": 2, "SVHN-crops": 1, "mosaics": 1}
    )
    print(table.to_markdown(index=False))


def on_svhn(runs: Runs, body: int, prototypes: int) -> float:
    """Return the mean distance's AUROC on SVHN in percent; NaN if there is no such run.

    Args:
        runs: all runs.
        body: the seed of body and batches.
        prototypes: the seed of the prototypes.
    """
    loss = "dismax" if body == prototypes else f"dismax_start{prototypes}"
    record = runs.get((loss, 4, body))
    value = detector_auroc("SVHN-crops", "mean_distance")
    return math.nan if record is None else 100 * value(record)


def cause(runs: Runs) -> str:
    """Return the cause by the rules of the page."""
    swapped = {(a, b): on_svhn(runs, a, b) for a, b in ((1, 3), (2, 3), (3, 1), (3, 2))}
    if any(map(math.isnan, swapped.values())):
        return "not decided"
    with_prototypes = {(value > 50) == (b == 3) for (_, b), value in swapped.items()}
    if len(with_prototypes) > 1:
        return "neither alone"
    return "the prototypes" if with_prototypes == {True} else "the body or the batches"


def write_cause() -> None:
    """Print the mean distance's AUROC on SVHN by the seeds of body and prototypes."""
    runs, seeds = all_runs(), SEEDS[4]
    print("| body and batches of seed |", *(f"prototypes of seed {seed} |" for seed in seeds))
    print("|---|" + "---:|" * len(seeds))
    for body in seeds:
        values = [on_svhn(runs, body, prototypes) for prototypes in seeds]
        cells = ["not run" if math.isnan(value) else f"{value:.1f}" for value in values]
        print(f"| {body} |", *(f"{cell} |" for cell in cells))
    print(f"\n- **The cause**: {cause(runs)}.")


def pairs(runs: Runs, loss: str, epochs: int) -> list[tuple[Record, Record]]:
    """Return the records of the usual and of the short start, for each seed that has both."""
    keys = [((loss, epochs, seed), (f"{loss}_short", epochs, seed)) for seed in SEEDS[epochs]]
    return [(runs[usual], runs[short]) for usual, short in keys if {usual, short} <= runs.keys()]


def change(both: Sequence[tuple[Record, Record]]) -> float:
    """Return how much higher the mean accuracy is with the short start, in points."""
    return 100 * mean(accuracy(short) - accuracy(usual) for usual, short in both)


def verdict(both: Sequence[tuple[Record, Record]]) -> str:
    """Return whether the short start helps, by the rules of the page."""
    if len(both) < len(SEEDS[15]):
        return f"not decided: {len(both)} of {len(SEEDS[15])} seeds have both runs"
    higher = all(lowest(short) > lowest(usual) for usual, short in both)
    helps = higher and change(both) >= -0.5
    return "the short start helps" if helps else "the short start does not help"


def write_remedy(epochs: int) -> None:
    """Print each seed's numbers with the usual and the short start."""
    runs = all_runs()
    values = {
        "accuracy": accuracy,
        "lowest AUROC": lowest,
        **{f"{name} AUROC": auroc(title, "MMLES") for title, name in SETS.items()},
    }
    print("| loss | seed |", *(f"{name} |" for name in values))
    print("|---|---:|" + "---|" * len(values))
    for loss, title in LOSS_TITLES.items():
        for both in pairs(runs, loss, epochs):
            cells = (
                " → ".join(f"{100 * value(record):.1f}" for record in both)
                for value in values.values()
            )
            seed = both[0]["config"]["seed"]
            print(f"| {title} | {seed} |", *(f"{cell} |" for cell in cells))


def write_answers() -> None:
    """Print whether the short start helps."""
    runs = all_runs()
    for loss, title in LOSS_TITLES.items():
        print(f"- **{title}**: {verdict(pairs(runs, loss, 15))}.")
