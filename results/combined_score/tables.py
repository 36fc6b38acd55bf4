"""Writes the tables of the page from measured.csv."""

from pathlib import Path

import pandas as pd

MEASURED = Path(__file__).parent / "measured.csv"
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


def measured() -> pd.DataFrame:
    """Return what was measured, with the scores by their titles."""
    rows = pd.read_csv(MEASURED)
    titles = pd.Categorical(rows.score.map(SCORES), [*SCORES.values()], ordered=True)
    return rows.assign(score=titles)


def cells(rows: pd.DataFrame, by: list[str], across: list[str]) -> pd.DataFrame:
    """Return "AUROC (accepted share)" in %, as means.

    Args:
        rows: of `measured`.
        by: columns of it that have rows of their own in the table.
        across: columns of it that have columns of their own in the table.
    """
    groups = rows.groupby([*by, *across], observed=True, sort=False)
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
