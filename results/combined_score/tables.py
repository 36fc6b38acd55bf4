"""Writes the tables of the page from measured.csv and judged.csv."""

from pathlib import Path

import pandas as pd

MEASURED = Path(__file__).parent / "measured.csv"
JUDGED = Path(__file__).parent / "judged.csv"  # the networks that decide
NOW, CANDIDATE = "combined", "all four"
SCORES = {
    "own": "own",
    "knn": "KNN",
    "mahalanobis": "Mahalanobis",
    "mahalanobis_plus_plus": "Mahalanobis++",
    "own + knn": "own + KNN",
    "own + mahalanobis_plus_plus": "own + Mahalanobis++",
    "own + knn + mahalanobis + mahalanobis_plus_plus": "all four",
    "combined": "combined",
}


def measured(path: Path = MEASURED) -> pd.DataFrame:
    """Return what was measured, with the scores by their titles."""
    rows = pd.read_csv(path)
    return rows.assign(score=rows["score"].map(SCORES.__getitem__))


def cells(rows: pd.DataFrame, by: list[str], across: list[str]) -> pd.DataFrame:
    """Return "AUROC (accepted share)" in %, as means, in the order of the rows.

    Args:
        rows: of `measured`.
        by: columns of it that have rows of their own in the table.
        across: columns of it that have columns of their own in the table.
    """
    groups = rows.groupby([*by, *across], sort=False)
    means = 100 * groups[["auroc", "accepted"]].mean()
    texts = means.apply(lambda mean: f"{mean.auroc:.1f} ({mean.accepted:.0f})", axis=1)
    return texts.unstack(across, sort=False)


def write(network: str, epochs: int, *by: str) -> None:
    """Print a table of all sets, with rows for each score.

    Args:
        network: its title.
        epochs: of its training.
        by: columns of measured.csv that have rows of their own too.
    """
    rows = measured().query("network == @network and epochs == @epochs and set != 'test'")
    print(cells(rows, [*by, "score"], ["set"]).reset_index().to_markdown(index=False))


def write_means() -> None:
    """Print a table of the means of all sets, with a column for each network and training."""
    rows = measured().query("set != 'test'")
    training = rows.network + ", " + rows.epochs.astype(str) + " epochs"
    table = cells(rows.assign(training=training), ["score"], ["training"])
    print(table.reset_index().to_markdown(index=False))


def write_test_shares() -> None:
    """Print which shares of the test images the thresholds accept."""
    shares = 100 * measured().query("set == 'test'").groupby("network").accepted.agg(["min", "max"])
    for network, (low, high) in shares.iterrows():
        print(f"- **{network}**: {low:.1f} to {high:.1f} % of the test images are accepted.")


def judgement(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers that decide, in %, with a row for each score.

    Args:
        rows: of `measured`.
    """
    run_and_set = ["network", "epochs", "loss", "seed", "set"]
    rows = rows.query("set != 'test'").set_index([*run_and_set, "score"])
    auroc = 100 * rows["auroc"].unstack("score")
    behind = auroc.rsub(auroc.max(axis="columns"), axis="index")
    numbers = {
        "mean AUROC": auroc.mean(),
        "mean share accepted": 100 * rows["accepted"].unstack("score").mean(),
        "largest distance to the best AUROC": behind.max(),
    }
    return pd.DataFrame(numbers).loc[[NOW, CANDIDATE]]


def holds(numbers: pd.DataFrame) -> bool:
    """Return whether the candidate is better by the rules of the page."""
    auroc, accepted, behind = numbers.T[CANDIDATE] - numbers.T[NOW]
    return bool(auroc > 0 and accepted < 0 and behind <= 1)


def write_judgement() -> None:
    """Print the numbers of each data set, and whether both rules hold there."""
    rows = measured(JUDGED)
    data = rows.network.eq("small CNN").map({True: "the digits", False: "CIFAR-10"})
    for name, part in rows.groupby(data, sort=False):
        numbers = judgement(part)
        count = part.groupby(["network", "epochs", "loss", "seed"]).ngroups
        answer = "Both rules hold." if holds(numbers) else "The rules do not both hold."
        print(f"**{name}**, {count} networks. {answer}\n")
        print(numbers.round(1).rename_axis("score").reset_index().to_markdown(index=False))
        print()
