#!/usr/bin/env python3
"""Aggregates the runs' records into the paper's tables: mean ± standard deviation, beside the paper's own numbers."""

from __future__ import annotations

import signal
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from tabulate import tabulate

from utils import command_line, records
from utils.config import RunConfig, identity_of

PAPER = Path(__file__).parent / "results" / "paper_table2.csv"
# Role of an out-of-distribution set → the metric of its column in the paper's table.
METRIC_OF_ROLE = {"near": ("aupr_out", "AUPR %"), "far": ("auroc", "AUROC %"), "very_far": ("aupr_out", "AUPR %")}
# A data set and a metric → their column in the paper's table, and what the set is called there.
PAPER_COLUMNS = {("cifar10", "aupr_out"): "near_aupr", ("cifar100", "aupr_out"): "near_aupr", ("svhn", "aupr_out"): "svhn_aupr"}
PAPER_COLUMNS |= {("tinyimagenet_resize", "auroc"): "tinyimagenet_auroc", ("lsun_resize", "auroc"): "lsun_auroc"}
SHORT = {"cifar10": "near", "cifar100": "near", "tinyimagenet_resize": "Tiny- IN", "lsun_resize": "LSUN"}
DETAIL = {"tnr95": "TNR@95 %", "auroc": "AUROC %", "aupr_in": "AUPR in %", "aupr_out": "AUPR out %", "dtacc": "DTACC %"}
STYLES = {"table": "simple", "markdown": "pipe", "latex": "latex_booktabs"}


@dataclass(frozen=True)
class Options:
    """Print the paper's tables from the records of all runs below a folder."""

    runs: Path = Path("runs")
    """Where the runs are."""
    format: Literal["table", "markdown", "latex", "csv"] = "table"
    """How to print; csv is one row a number, with all scores at both temperatures."""
    detail: bool = True
    """Print every score and metric of each out-of-distribution set too."""


def group_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What runs must share to stand in one table: data set, network, and how they were trained and scored."""
    config, at = record["config"], "T = 1" if record["scores_at"] == "t1" else "the fitted T"
    epochs = f"{config['epochs']} epoch{'s' * (config['epochs'] > 1)}"
    how = f"{config['protocol']} protocol, {config['recipe']} recipe, {epochs}, scores at {at}"
    usual = {field.name: field.default for field in fields(RunConfig)}
    said = ("data", "model", "loss", "seed", "protocol", "recipe", "epochs", "ood")
    rest = {name: value for name, value in identity_of(config).items() if name not in said and value != usual.get(name)}
    how += "".join(f", {name.replace('_', '-')} {value}" for name, value in rest.items())
    return config["data"], record["titles"]["data"], record["titles"]["model"], how, *config["ood"]


def cells(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A run's row of the paper's table, a cell at a time."""
    at, score, test = record["scores_at"], record["score"], record["classification"]["test"]
    yield {"column": "ACC %", "paper_column": "acc", "value": 100 * test["t1"]["accuracy"]}
    yield {"column": "ECE", "paper_column": "ece", "value": test["calibrated"]["ece"]}
    for source, found in record["detection"].items():
        metric, label = METRIC_OF_ROLE[found["role"]]
        title, paper_column = SHORT.get(source, found["title"]), PAPER_COLUMNS.get((source, metric))
        yield {"column": f"{title} {label}", "paper_column": paper_column, "value": 100 * found["scores"][at][score][metric]}
        if found["role"] == "near":  # which score the paper's near column took is not clear: both
            value = 100 * found["scores"][at]["MPS"][metric]
            yield {"column": f"{title} [MPS] {label}", "paper_column": paper_column, "value": value}


def paper_rows(data: str, network: str) -> dict[str, dict[str, float]]:
    """The paper's own rows of a table by method; none for what the paper does not have."""
    table = pd.read_csv(PAPER)
    rows = table[(table["data"] == data) & (table["network"] == network)]
    return {row["method"]: {name: row[name] for name in row.index[4:]} for _, row in rows.iterrows()}


def number(value: float, spread: float, column: str) -> str:
    """Mean ± standard deviation as the paper prints it: percentages to a decimal, ECE to four."""
    if pd.isna(value):
        return ""
    digits = 4 if column == "ECE" else 1
    text = f"{value:.{digits}f}" + ("" if pd.isna(spread) else f"±{spread:.{digits}f}".replace("±0.", "±."))
    return text.removeprefix("0") if column == "ECE" else text


def signed(gap: float, column: str) -> str:
    """A difference, with its sign."""
    return "" if pd.isna(gap) else f"{gap:+.{4 if column == 'ECE' else 1}f}"


def main_table(members: list[dict[str, Any]], data: str, network: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of one of the paper's tables: ours, the paper's, and the difference."""
    ours = pd.DataFrame([{"method": run["titles"]["loss"]} | cell for run in members for cell in cells(run)])
    columns = ours.drop_duplicates("column")[["column", "paper_column"]].values.tolist()
    statistics = ours.groupby(["method", "column"], sort=False)["value"].agg(["mean", "std", "count"])
    published = paper_rows(data, network)
    order = [*pd.read_csv(PAPER)["method"], *ours["method"]]  # the paper's; others follow
    methods = [method for method in dict.fromkeys(order) if method in published or (ours["method"] == method).any()]
    rows = []
    for method in methods:
        known = method in statistics.index.get_level_values(0)
        mean = {column: statistics["mean"].get((method, column), float("nan")) for column, _ in columns}
        spread = {column: statistics["std"].get((method, column), float("nan")) for column, _ in columns}
        label = f"{method} (n={statistics.loc[method]['count'].max()})" if known else f"{method} (no runs)"
        rows.append([label, *(number(mean[column], spread[column], column) for column, _ in columns)])
        if method not in published:
            continue
        paper = published[method]
        rows.append(["· paper", *(number(paper.get(p), paper.get(f"{p}_std"), column) for column, p in columns)])
        if known:
            gaps = [mean[column] - paper.get(p, float("nan")) for column, p in columns]
            rows.append(["· difference", *(signed(gap, column) for gap, (column, _) in zip(gaps, columns, strict=True))])
    return ["method (runs)", *(column for column, _ in columns)], rows


def heading(text: str, style: str) -> None:
    """What stands above a table; in LaTeX a comment."""
    folded = "\n".join(textwrap.fill(line, 77) for line in text.split("\n"))
    print("\n" + textwrap.indent(folded, "% " if style == STYLES["latex"] else "") + "\n")


def show(rows: list[list[str]], heads: list[str], style: str) -> None:
    """Print a table."""
    table = tabulate(rows, heads, tablefmt=style, disable_numparse=True)
    print(narrow(table) if style == STYLES["table"] else table)


def detail_rows(records_: list[dict[str, Any]]) -> pd.DataFrame:
    """Every score's every metric at both temperatures, a row a run."""
    return pd.DataFrame(
        [
            {"data": group[1], "network": group[2], "how": group[3], "method": run["titles"]["loss"], "seed": run["config"]["seed"]}
            | {f"test_{name}": run["classification"]["test"][at][name] for name in ("accuracy", "ece")}
            | {"set": found["title"], "score": score, "at": at, "own": at == run["scores_at"], **metrics}
            for run in records_
            for group in [group_of(run)]
            for found in run["detection"].values()
            for at, scores in found["scores"].items()
            for score, metrics in scores.items()
        ]
    )


def print_detail(members: list[dict[str, Any]], style: Any) -> None:
    """A table for each out-of-distribution set: all scores, at the temperature of the main table."""
    rows = detail_rows(members)
    for title, part in rows[rows["own"]].groupby("set", sort=False):
        table = []
        for (method, score), runs in part.groupby(["method", "score"], sort=False):
            values = [number(100 * runs[metric].mean(), 100 * runs[metric].std(), "") for metric in DETAIL]
            table.append([method, score, str(len(runs)), *values])
        heading(f"{title}, every score", style)
        show(table, ["method", "score", "n", *DETAIL.values()], style)


def narrow(table: str) -> str:
    """A table with one space between its columns in place of two: the paper's seven then fit a terminal of 80."""
    lines = table.split("\n")
    rule = next(line for line in lines if line.startswith("--"))
    kept = [place for place in range(max(map(len, lines))) if rule[place : place + 2] != "  "]
    return "\n".join("".join(line[place : place + 1] for place in kept).rstrip() for line in lines)


def print_tables(found: list[dict[str, Any]], options: Options) -> None:
    """Each group's tables."""
    style = STYLES[options.format]
    groups = {group: [run for run in found if group_of(run) == group] for group in map(group_of, found)}
    for group, members in groups.items():
        data, data_title, network, how = group[:4]
        heads, rows = main_table(members, data, network)
        if options.format == "table":
            heads = ["\n".join(head.replace("_", "_ ").split(" ")) for head in heads]
            rows = [[textwrap.fill(row[0], 13), *row[1:]] for row in rows]
        heading(f"{data_title}, {network}\n{how}", style)
        show(rows, heads, style)
        if options.detail:
            print_detail(members, style)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 printed, 2 bad input or nothing to print."""
    try:
        options = command_line.read(Options, "analyze.py", arguments)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    found, problems = records.find_records(options.runs, lambda record: (group_of(record), list(cells(record))))
    for problem in problems:
        print(f"warning: {problem}: left out", file=sys.stderr)
    if not found:
        print(
            f"error: no finished run below {options.runs}: make one with python main.py, or name a folder with --runs",
            file=sys.stderr,
        )
        return 2
    if options.format == "csv":
        table = detail_rows(found)
        table.drop(columns="own").to_csv(sys.stdout, index=False)
        return 0
    print_tables(found, options)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `analyze.py | head` ends quietly
    sys.exit(main())
