"""Makes the rows of runs, and reads the inference efficiencies that stand in them."""

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from experiment import records, titles

from .columns import RunRow
from .paper import paper
from .runs import method_of, with_version

# (network, method) → inference in percent of SoftMax's images/s.
Efficiencies = dict[tuple[str, str], float]
# A folder → the efficiencies of the runs in and below it.
Measured = Mapping[Path, Efficiencies]


def efficiencies(folders: Iterable[Path]) -> Measured:
    """Return the inference efficiencies that `benchmarks.inference --out` wrote into folders.

    Raises ValueError for a damaged file.
    """
    found = {_absolute(folder): _efficiencies(folder) for folder in folders}
    return {folder: values for folder, values in found.items() if values}


def efficiencies_of(measured: Measured, run: Path) -> Efficiencies:
    """Return the efficiencies of the nearest folder above a run that has some."""
    above = [folder for folder in measured if _absolute(run).is_relative_to(folder)]
    return measured[max(above, key=lambda folder: len(folder.parts))] if above else {}


def _absolute(path: Path) -> Path:
    """Return a path that begins at the root. A link keeps its name: runs may be behind one."""
    return Path(os.path.abspath(path))


def _efficiencies(folder: Path) -> Efficiencies:
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


def run_rows(
    record: Mapping[str, Any], measured: Mapping[tuple[str, str], float] = MappingProxyType({})
) -> list[RunRow]:
    """Return a run's row with its own score. If the paper has one with preprocessing, add that.

    Args:
        record: of the run.
        measured: inference efficiencies.
    """
    method, network, at = method_of(record), record["titles"]["model"], record["scores_at"]
    scores = {source: entry["scores"][at] for source, entry in record["detection"].items()}
    own = {source: metrics[record["score"]] for source, metrics in scores.items()}
    mps = {source: metrics["MPS"] for source, metrics in scores.items() if "MPS" in metrics}
    rows = [RunRow(method, record, measured.get((network, method), math.nan), own, mps)]
    preprocessing = record.get("detectors", {}).get("preprocessing", {})
    title = f"{method}, preprocessing"
    if "sets" in preprocessing and title in set(paper()["method"]):
        # Other constants than the default, and other versions, have rows of their own.
        constants = titles.constants(preprocessing)
        if constants.get("epsilon") != "chosen":
            title += titles.as_suffix(constants)
        title = with_version(title, "preprocessing", preprocessing.get("version", 1))
        efficiency = measured.get((network, title), math.nan)
        rows.append(RunRow(title, record, efficiency, preprocessing["sets"], {}))
    return rows
