"""The paper's Table 2, which ours stand beside."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent.parent / "results" / "paper_table2.csv"
# A data set and a metric → their column in the paper's table.
PAPER_COLUMNS = {
    ("cifar10", "aupr_out"): "near_aupr",
    ("cifar100", "aupr_out"): "near_aupr",
    ("svhn", "aupr_out"): "svhn_aupr",
}
PAPER_COLUMNS |= {
    ("tinyimagenet_resize", "auroc"): "tinyimagenet_auroc",
    ("lsun_resize", "auroc"): "lsun_auroc",
}
# The columns of the paper's table, where no run says which there are.
PAPER_TABLE = {"Eff %": "efficiency", "ACC %": "acc", "ECE": "ece", "near AUPR %": "near_aupr"}
PAPER_TABLE |= {
    "Tiny- IN AUROC %": "tinyimagenet_auroc",
    "LSUN AUROC %": "lsun_auroc",
    "SVHN AUPR %": "svhn_aupr",
}
DATA_TITLES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100"}


@cache
def paper() -> pd.DataFrame:
    """The paper's Table 2."""
    return pd.read_csv(PAPER)


def paper_rows(data: str, network: str) -> dict[str, dict[str, float]]:
    """The paper's own rows of a table by method; none for what the paper does not have."""
    table = paper()
    rows = table[(table["data"] == data) & (table["network"] == network)]
    return {
        row["method"]: {name: row[name] for name in row.index[3:]} for _, row in rows.iterrows()
    }


def as_the_paper_has_it(method: str) -> str:
    """A method's name in the paper's table."""
    return re.sub(r" of \d+$", "", method)


def in_the_papers_order(methods: Iterable[str]) -> list[str]:
    """Methods in the order of the paper's table, others behind them; each once."""
    order = {name: place for place, name in enumerate(dict.fromkeys(paper()["method"]))}
    return sorted(
        dict.fromkeys(methods),
        key=lambda method: order.get(as_the_paper_has_it(method), len(order)),
    )
