"""Reads the paper's Table 2."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent.parent / "results" / "paper_table2.csv"
DATA_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


@cache
def paper() -> pd.DataFrame:
    """Return the paper's Table 2."""
    return pd.read_csv(PAPER)


def paper_rows(data: str, network: str) -> dict[str, dict[str, float]]:
    """Return the paper's numbers by method and column; {} for a table that it does not have."""
    table = paper()
    rows = table[(table["data"] == data) & (table["network"] == network)]
    return {
        row["method"]: {name: row[name] for name in row.index[3:]} for _, row in rows.iterrows()
    }


def paper_name(method: str) -> str:
    """Return a method's name in the paper's table: without the number of an ensemble's members."""
    return re.sub(r" of \d+$", "", method)


def in_the_papers_order(methods: Iterable[str]) -> list[str]:
    """Return the methods, each once, in the order of the paper's table; others come last."""
    order = {name: place for place, name in enumerate(paper()["method"].unique())}
    return sorted(
        dict.fromkeys(methods), key=lambda method: order.get(paper_name(method), len(order))
    )
