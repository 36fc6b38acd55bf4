"""Records of runs to the numbers of the paper's tables: mean and standard deviation over seeds,
beside the paper's own.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from experiment import records, titles
from experiment.config import defaults, identity_of
from utils import versions
from utils.output import visible

from .paper import (
    DATA_TITLES,
    PAPER_COLUMNS,
    PAPER_TABLE,
    as_the_paper_has_it,
    in_the_papers_order,
    paper,
    paper_rows,
)
from .tables import BEST, among_best, number, signed

# Role of an out-of-distribution set → the metric of its column in the paper's table.
METRIC_OF_ROLE = {
    "near": ("aupr_out", "AUPR %"),
    "far": ("auroc", "AUROC %"),
    "very_far": ("aupr_out", "AUPR %"),
}
SHORT = {
    "cifar10": "near",
    "cifar100": "near",
    "tinyimagenet_resize": "Tiny- IN",
    "lsun_resize": "LSUN",
}
DETAIL = {
    "tnr95": "TNR@95 %",
    "auroc": "AUROC %",
    "aupr_in": "AUPR in %",
    "aupr_out": "AUPR out %",
    "dtacc": "DTACC %",
}
# (network, method) → inference in percent of SoftMax's images/s.
Efficiencies = dict[tuple[str, str], float]
# Method → column → mean, standard deviation; NaN where there is none.
Numbers = dict[str, dict[str, tuple[float, float]]]


def group_of(record: dict[str, Any]) -> tuple[str, ...]:
    """What runs must share to stand in one table: data set, network, and how they were trained and
    scored.
    """
    config, at = record["config"], "T = 1" if record["scores_at"] == "t1" else "the fitted T"
    epochs = f"{config['epochs']} epoch{'s' * (config['epochs'] > 1)}"
    how = f"{config['protocol']} protocol, {config['recipe']} recipe, {epochs}, scores at {at}"
    said = ("data", "model", "loss", "seed", "protocol", "recipe", "epochs", "ood", "versions")
    rest = {
        name: value
        for name, value in identity_of(config).items()
        if name not in said and value != defaults(config).get(name)
    }
    how += "".join(f", {name.replace('_', '-')} {value}" for name, value in rest.items())
    # An outdated loss has a row of its own instead, since a table has several losses.
    how += "".join(
        f", {reason}"
        for name, reason in versions.outdated(config).items()
        if name != versions.loss_of(config)
    )
    sets = sorted(f"{found['role']}={source}" for source, found in record["detection"].items())
    return (
        config["data"],
        record["titles"]["data"],
        record["titles"]["model"],
        visible(how),
        *config["ood"],
        *sets,
    )


def method_of(record: dict[str, Any]) -> str:
    """The method that a run's row goes by: of an ensemble with the number of its members, of an
    outdated loss with its version.
    """
    title, members, config = record["titles"]["loss"], record.get("members"), record["config"]
    if members:
        title = f"{title} of {len(members)}"
    loss = versions.loss_of(config)
    return _versioned(title, loss, config.get("versions", {}).get(loss, 1))


def _versioned(title: str, name: str, held: int) -> str:
    """The title of a loss or detector, with its version where that is not today's."""
    return title if held == versions.of(name) else f"{title} (version {held})"


def cells(
    record: dict[str, Any], measured: Efficiencies, labels: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """A run's rows of the paper's table, a cell at a time: its own score; that of preprocessed
    inputs where the paper has one.

    `labels` are what the columns call the out-of-distribution sets, by source.
    """
    at, score, method = record["scores_at"], record["score"], method_of(record)
    found, network = (
        {source: scores["scores"][at] for source, scores in record["detection"].items()},
        record["titles"]["model"],
    )
    yield efficiency_cell(method, measured.get((network, method)))
    yield from row_cells(
        record, labels, method, {source: scores[score] for source, scores in found.items()}, found
    )
    added, title = record.get("detectors", {}).get("preprocessing", {}), f"{method}, preprocessing"
    if "sets" in added and title in set(paper()["method"]):
        # Constants other than usual, and versions, have rows of their own.
        given = titles.constants("preprocessing", added)
        title += "" if given.get("epsilon") == "chosen" else titles.as_suffix(given)
        title = _versioned(title, "preprocessing", added.get("version", 1))
        yield efficiency_cell(title, measured.get((network, title)))
        yield from row_cells(record, labels, title, added["sets"], {})


def efficiency_cell(method: str, percent: float | None) -> dict[str, Any]:
    """The cell of a measured efficiency, NaN without one."""
    value = math.nan if percent is None else percent
    return {"method": method, "column": "Eff %", "paper_column": "efficiency", "value": value}


def row_cells(
    record: dict[str, Any],
    labels: dict[str, str],
    method: str,
    own: dict[str, dict[str, float]],
    others: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """One row: a method's metrics on each set, beside the run's accuracy and ECE; `others` are the
    other scores' metrics.
    """
    test, row = record["classification"]["test"], {"method": method}
    yield row | {"column": "ACC %", "paper_column": "acc", "value": 100 * test["t1"]["accuracy"]}
    yield row | {"column": "ECE", "paper_column": "ece", "value": test["calibrated"]["ece"]}
    for source, scores in own.items():
        held = record["detection"][source]
        metric, label = METRIC_OF_ROLE[held["role"]]
        column = row | {
            "column": f"{labels[source]} {label}",
            "paper_column": PAPER_COLUMNS.get((source, metric)),
        }
        yield column | {"value": 100 * scores[metric]}
        if held["role"] == "near":  # which score the paper's near column took is not clear: both
            value = 100 * others.get(source, {}).get("MPS", {}).get(metric, math.nan)
            yield column | {"column": f"{labels[source]} [MPS] {label}", "value": value}


def efficiencies(folder: Path) -> Efficiencies:
    """Measured inference efficiencies, as `benchmarks.inference --out` left it."""
    path = folder / "efficiency.json"
    if not path.exists():
        return {}
    try:
        return {
            (row["network"], row["method"]): float(row["efficiency"])
            for row in records.read_json(path)["rows"]
        }
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}): measure again, or delete it"
        ) from error


def of_runs(ours: pd.DataFrame, columns: Iterable[str]) -> Numbers:
    """Our runs' numbers."""
    spreads = ours.groupby(["method", "column"])["value"].agg(["mean", "std"]).T.to_dict("list")
    return {
        method: {
            column: tuple(spreads.get((method, column), (math.nan, math.nan))) for column in columns
        }
        for method in ours["method"].unique()
    }


def of_the_paper(published: dict[str, dict[str, float]], columns: dict[str, str]) -> Numbers:
    """The paper's numbers."""
    return {
        method: {
            column: (row.get(name, math.nan), row.get(f"{name}_std", math.nan))
            for column, name in columns.items()
        }
        for method, row in published.items()
    }


def printed(values: Numbers) -> dict[str, dict[str, str]]:
    """The numbers as text by method and column, those among a column's best marked."""
    columns = next(iter(values.values()), {})
    best = {
        column: among_best(
            *({method: row[column][which] for method, row in values.items()} for which in (0, 1)),
            column,
        )
        for column in columns
    }
    return {
        method: {
            column: number(*pair, column) + BEST * (method in best[column])
            for column, pair in row.items()
        }
        for method, row in values.items()
    }


def main_table(
    members: list[dict[str, Any]], data: str, network: str, measured: Efficiencies
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of one of the paper's tables: ours, the paper's, and the difference."""
    sets = {source: found["title"] for run in members for source, found in run["detection"].items()}
    labels = titles.of_sources({source: SHORT.get(source, title) for source, title in sets.items()})
    listed = [cell for run in members for cell in cells(run, measured, labels)]
    ours = pd.DataFrame(listed, columns=["method", "column", "paper_column", "value"])
    columns = (
        dict(ours.drop_duplicates("column")[["column", "paper_column"]].values.tolist())
        or PAPER_TABLE
    )
    published = paper_rows(data, network)
    if not published and ours.loc[ours["column"] == "Eff %", "value"].isna().all():
        columns.pop("Eff %")
    here, there = of_runs(ours, columns), of_the_paper(published, columns)
    here_text, paper_text = printed(here), printed(there)
    runs = ours[ours["column"] == "ACC %"].groupby("method").size()
    rows = []
    for name in in_the_papers_order([*paper()["method"], *map(as_the_paper_has_it, here)]):
        ours_of_it = [method for method in here if as_the_paper_has_it(method) == name]
        rows += [
            [f"{method} (n={runs[method]})", *here_text[method].values()] for method in ours_of_it
        ]
        if name not in published:
            continue
        if not ours_of_it:
            rows.append([f"{name} (no runs)", *("" for _ in columns)])
        rows.append(["· paper", *paper_text[name].values()])
        for method in ours_of_it:
            gaps = [
                signed(here[method][column][0] - there[name][column][0], column)
                for column in columns
            ]
            rows.append(["· differ.", *gaps])
    return ["method (runs)", *columns], rows


def detail_rows(records_: list[dict[str, Any]]) -> pd.DataFrame:
    """Every score's every metric at both temperatures, a row a run; and those of the detectors
    added later, at T = 1.
    """
    rows = []
    for run in records_:
        _, data, network, how = group_of(run)[:4]
        test = run["classification"]["test"]
        common = {
            "data": data,
            "network": network,
            "how": how,
            "method": method_of(run),
            "seed": run["config"]["seed"],
        }
        for source, found in run["detection"].items():
            judged = {
                at: {f"test_{name}": test[at][name] for name in ("accuracy", "ece")}
                for at in found["scores"]
            }
            of_set = {"set": found["title"], "source": source}
            for at, scores in found["scores"].items():
                here = common | judged[at] | of_set | {"at": at}
                rows += [
                    here | {"score": score, "own": at == run["scores_at"]} | values
                    for score, values in scores.items()
                ]
            for name, added in run.get("detectors", {}).items():
                here = common | judged["t1"] | of_set | {"at": "t1"}
                none = dict.fromkeys(DETAIL, math.nan)
                score = _versioned(added["title"], name, added.get("version", 1))
                rows.append(
                    here
                    | {"score": score, "own": True}
                    | none
                    | added.get("sets", {}).get(source, {})
                )
    return pd.DataFrame(rows)


def detail_tables(
    members: list[dict[str, Any]],
) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """For each out-of-distribution set its title, and a table's heads and rows: all scores, at the
    group's T or marked.
    """
    rows = detail_rows(members)
    if rows.empty:
        return
    # The detectors' scores are at T = 1 always, which has to be said where the others are not.
    rows.loc[rows["at"] != members[0]["scores_at"], "score"] += " (at T = 1)"
    for _, part in rows[rows["own"]].groupby("source", sort=False):
        runs = part.groupby(["method", "score"], sort=False)
        found = 100 * runs[list(DETAIL)].agg(["mean", "std"])
        pairs = found.to_numpy().reshape(len(found), len(DETAIL), 2)
        table = [
            [*row, str(count), *(number(mean, spread, "") or "n/a" for mean, spread in values)]
            for row, count, values in zip(found.index, runs["auroc"].count(), pairs, strict=True)
        ]
        yield str(part["set"].iloc[0]), ["method", "score", "n", *DETAIL.values()], table


def grouped(
    found: list[dict[str, Any]], whole_paper: bool = False
) -> dict[tuple[str, ...], list[dict[str, Any]]]:
    """The records by what they share; with `whole_paper` an empty group for each part of the
    paper's table without runs too.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in found:
        groups.setdefault(group_of(run), []).append(run)
    if whole_paper:
        have = {(group[0], group[2]) for group in groups}
        pairs = paper()[["data", "network"]].drop_duplicates().itertuples(index=False)
        missing = [(data, network) for data, network in pairs if (data, network) not in have]
        groups |= {
            (data, DATA_TITLES[data], network, "no runs yet"): [] for data, network in missing
        }
    return groups
