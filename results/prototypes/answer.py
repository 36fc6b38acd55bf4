"""Writes the tables of this study's page from the records, and its answers by the page's rules."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from reporting.reading import read_runs
from results.schedule_or_capacity.values import Record, accuracy, auroc, detector_auroc

FOLDER = Path(__file__).parent
NETWORK = "wideresnet102"
SEEDS = 3  # that the judgement needs
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


def write_cause() -> None:
    """Print the mean distance's AUROC on SVHN by the seeds of body and prototypes."""
    runs, seeds = all_runs(), (1, 2, 3)
    print("| body and batches of seed |", *(f"prototypes of seed {seed} |" for seed in seeds))
    print("|---|" + "---:|" * len(seeds))
    for body in seeds:
        cells = []
        for prototypes in seeds:
            loss = "dismax" if body == prototypes else f"dismax_start{prototypes}"
            record = runs.get((loss, 4, body))
            value = detector_auroc("SVHN-crops", "mean_distance")
            cells.append("not run" if record is None else f"{100 * value(record):.1f}")
        print(f"| {body} |", *(f"{cell} |" for cell in cells))


def pairs(runs: Runs, loss: str, epochs: int) -> dict[int, tuple[Record, Record]]:
    """Return seed → the records of the usual and of the short start."""
    short = {key[2]: run for key, run in runs.items() if key[:2] == (f"{loss}_short", epochs)}
    usual = {key[2]: run for key, run in runs.items() if key[:2] == (loss, epochs)}
    return {seed: (usual[seed], short[seed]) for seed in sorted(usual.keys() & short.keys())}


def verdict(both: Sequence[tuple[Record, Record]]) -> str:
    """Return whether the short start helps, by the rules of the page."""
    if len(both) < SEEDS:
        return f"not decided: {len(both)} of {SEEDS} seeds have both runs"
    higher = all(lowest(short) > lowest(usual) for usual, short in both)
    change = 100 * mean(accuracy(short) - accuracy(usual) for usual, short in both)
    return "the short start helps" if higher and change >= -0.5 else "the short start does not help"


def write_remedy() -> None:
    """Print each seed's numbers with the usual and the short start, and the answers."""
    runs = all_runs()
    values = {
        "accuracy": accuracy,
        "lowest AUROC": lowest,
        **{f"{name} AUROC": auroc(title, "MMLES") for title, name in SETS.items()},
    }
    print("| loss, epochs, seed |", *(f"{name} |" for name in values))
    print("|---|" + "---|" * len(values))
    losses = {"dismax_nofpr": "without FPR", "dismax": "with FPR"}
    for epochs in (4, 15):
        for loss, title in losses.items():
            for seed, both in pairs(runs, loss, epochs).items():
                cells = (
                    " → ".join(f"{100 * value(record):.1f}" for record in both)
                    for value in values.values()
                )
                print(f"| {title}, {epochs}, {seed} |", *(f"{cell} |" for cell in cells))
    print()
    for loss, title in losses.items():
        print(f"- **{title}**: {verdict([*pairs(runs, loss, 15).values()])}.")
