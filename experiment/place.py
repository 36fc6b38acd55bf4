"""Says where a method that another program trained stands in the tables."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from data import sources
from data.catalog import CATALOG, title_of
from models import model_title
from utils import versions

from . import records
from .recipes import ELSEWHERE


def folder_name(title: str) -> str:
    """Return a title as a folder's name: "My method" is my_method."""
    return re.sub(r"\W+", "_", title.lower()).strip("_")


class Place(NamedTuple):
    """Where the method stands in the tables."""

    config: dict[str, Any]
    titles: dict[str, str]
    roles: dict[str, str]  # of the usual out-of-distribution sets


def beside(run: Path) -> Place:
    """Return the place in the table of a run. Raises ValueError for no folder of a finished one."""
    if not (run / records.METRICS).is_file():
        raise ValueError(f"--like {run} is no folder of a finished run")
    record = records.read_record(run / records.METRICS)
    roles = {source: entry["role"] for source, entry in record["detection"].items()}
    config = record["config"]
    # The run's versions keep the method in the same table. It does not have that of the run's loss.
    kept = dict(config.get("versions", {}))
    kept.pop(versions.loss_of(config), None)
    return Place(config | {"versions": kept}, record["titles"], roles)


def of_names(data: str, model: str) -> Place:
    """Return the place in the table of the data and the network with these names."""
    in_catalog = data in CATALOG
    config = {"data": data, "model": folder_name(model), "recipe": ELSEWHERE, "epochs": None}
    titles = {"data": title_of(data) if in_catalog else data, "model": _network_title(model)}
    roles = {name: role for role, name in sources.ood_sets(data, ())} if in_catalog else {}
    return Place(config, titles, roles)


def _network_title(name: str) -> str:
    """Return a network's title: that of main.py's network of this name, or the name itself."""
    try:
        return model_title(name)
    except ValueError:
        return name
