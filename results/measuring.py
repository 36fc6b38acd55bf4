"""What the measurements of finished networks have in common."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.output import print_line

Row = dict[str, str | int]


def network_of(record: Mapping[str, Any]) -> Row:
    """Return the columns that say which network a row is of."""
    config, titles = record["config"], record["titles"]
    return {
        "network": titles["model"],
        "epochs": config["epochs"],
        "loss": titles["loss"],
        "seed": config["seed"],
    }


def write(
    path: str,
    columns: Sequence[str],
    measure: Callable[[Path], Iterable[Row]],
    folders: Iterable[str],
) -> None:
    """Measure the runs one after another, and write the rows of each as soon as it is done.

    Args:
        path: of the CSV file.
        columns: its columns.
        measure: a run's folder to its rows.
        folders: of the runs.
    """
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for folder in folders:
            writer.writerows(measure(Path(folder)))
            file.flush()
            print_line(f"{folder} is measured")
