"""Writes what FPR costs in each pair of runs, and the study's answer by the rules of its page."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean

from reporting.reading import read_runs

from .values import Record, accuracy, auroc

FOLDER = Path(__file__).parent
# The two numbers that decide.
NUMBERS = {"AUROC on SVHN": auroc("SVHN-crops", "MMLES"), "accuracy": accuracy}
SHORT, LONG, LARGE = ("WideResNet-10-2", 15), ("WideResNet-10-2", 60), ("ResNet-10", 15)
CELLS = [("WideResNet-10-2", 4), SHORT, LONG, ("ResNet-10", 4), LARGE]
SEEDS = 3  # that an answer needs
# (network, epochs) → seed → (number without FPR, number with FPR), in percent
Pairs = dict[tuple[str, int], dict[int, tuple[float, float]]]


def pairs_of(records: Sequence[Record], value: Callable[[Record], float]) -> Pairs:
    """Return a number of all pairs of runs that differ only in FPR."""
    numbers: dict[tuple[tuple[str, int], str], dict[int, float]] = defaultdict(dict)
    for record in records:
        config = record["config"]
        cell = record["titles"]["model"], config["epochs"]
        numbers[cell, config["loss"]][config["seed"]] = 100 * value(record)
    pairs: Pairs = {}
    for cell in CELLS:
        without, with_fpr = numbers[cell, "dismax_nofpr"], numbers[cell, "dismax"]
        seeds = sorted(without.keys() & with_fpr.keys())
        pairs[cell] = {seed: (without[seed], with_fpr[seed]) for seed in seeds}
    return pairs


def verdict(pairs: Pairs, seed: int) -> str:
    """Return the answer of one seed, which all three cells have."""
    losses = {cell: pairs[cell][seed][0] - pairs[cell][seed][1] for cell in (SHORT, LONG, LARGE)}
    if losses[SHORT] <= 0:
        return "no loss to explain"

    def halves(cell: tuple[str, int]) -> bool:
        rises = pairs[cell][seed][1] > pairs[SHORT][seed][1]
        return rises and losses[cell] <= losses[SHORT] / 2

    answers = {(True, False): "schedule", (False, True): "capacity", (True, True): "both"}
    return answers.get((halves(LONG), halves(LARGE)), "neither")


def common_seeds(pairs: Pairs) -> list[int]:
    """Return the seeds that all three cells have."""
    return sorted(set.intersection(*(set(pairs[cell]) for cell in (SHORT, LONG, LARGE))))


def answer(pairs: Pairs) -> str:
    """Return the answer of all seeds that have the three cells."""
    seeds = common_seeds(pairs)
    verdicts = {seed: verdict(pairs, seed) for seed in seeds}
    if len(seeds) < SEEDS:
        return f"not decided: {len(seeds)} of {SEEDS} seeds have the three pairs"
    if len(set(verdicts.values())) > 1:
        return "not decided: " + ", ".join(f"{each} (seed {s})" for s, each in verdicts.items())
    return verdicts[seeds[0]]


def write() -> None:
    """Print a table of all pairs, means over their seeds, and the two answers."""
    records = [*read_runs([FOLDER / "runs"])[0].values()]
    all_pairs = {name: pairs_of(records, value) for name, value in NUMBERS.items()}
    print("| network, epochs | seeds |", *(f"{name}: without FPR - with FPR |" for name in NUMBERS))
    print("|---|---|---|---|")
    for cell in CELLS:
        seeds = [*all_pairs["accuracy"][cell]]
        if cell in (SHORT, LONG, LARGE):  # means are comparable over the same seeds only
            seeds = common_seeds(all_pairs["accuracy"]) or seeds
        if not seeds:
            continue
        cells = [f"{cell[0]}, {cell[1]}", ", ".join(map(str, seeds))]
        for pairs in all_pairs.values():
            sides = zip(*(pairs[cell][seed] for seed in seeds), strict=True)
            without, with_fpr = (mean(side) for side in sides)
            cells.append(f"{without:.1f} - {with_fpr:.1f} = {without - with_fpr:.1f}")
        print(f"| {' | '.join(cells)} |")
    print()
    for name, pairs in all_pairs.items():
        print(f"- **{name}**: {answer(pairs)}.")
