"""Sorts runs into tables, and names their rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiment.config import defaults, epochs_text, identity_of
from experiment.recipes import ELSEWHERE
from utils import versions
from utils.output import visible

from .paper import DATA_TITLES, paper

Runs = dict[Path, dict[str, Any]]  # a run's folder → its record
# Fields of a configuration that a table's heading or a row's name shows in its own way.
SHOWN = (
    "data",
    "model",
    "loss",
    "seed",
    "protocol",
    "recipe",
    "epochs",
    "ood",
    "versions",
    "outputs",
)


class Group(NamedTuple):
    """What all runs of one table share, unless `--group-by` joins tables."""

    data: str  # the data set as the configuration names it
    data_title: str
    network: str
    # How they were trained and scored: names of fields, and words for their values.
    fields: tuple[tuple[str, str], ...]
    ood: tuple[str, ...] = ()  # OOD sets: as the configuration names them, and as ROLE=SOURCE

    @property
    def how(self) -> str:
        """How they were trained and scored, in words."""
        return ", ".join(words for _, words in self.fields)


def group_of(record: Mapping[str, Any]) -> Group:
    """Return the group that a run belongs to."""
    config = record["config"]
    temperature = "T = 1" if record["scores_at"] == "t1" else "the fitted T"
    elsewhere = config["recipe"] == ELSEWHERE
    fields = {
        "protocol": f"{config['protocol']} protocol",
        "recipe": "trained elsewhere" if elsewhere else f"{config['recipe']} recipe",
    }
    if config["epochs"] is not None:
        fields["epochs"] = epochs_text(config["epochs"])
    fields["temperature"] = f"scores at {temperature}"
    by_default = defaults(config)
    for name, value in identity_of(config).items():
        if name not in SHOWN and value != by_default.get(name):
            name = name.replace("_", "-")
            fields[name] = f"{name} {value}"
    # The loss is left out: a table has several losses, so an outdated loss has its own row instead.
    loss = versions.loss_of(config)
    reasons = [reason for name, reason in versions.outdated(config).items() if name != loss]
    if reasons:
        fields["versions"] = ", ".join(reasons)
    sets = sorted(f"{entry['role']}={source}" for source, entry in record["detection"].items())
    titles = record["titles"]
    return Group(
        config["data"],
        titles["data"],
        titles["model"],
        tuple((visible(name), visible(words)) for name, words in fields.items()),
        (*config["ood"], *sets),
    )


def group_runs(runs: Runs, whole_paper: bool = False) -> dict[Group, Runs]:
    """Return the runs of each group, in order of appearance.

    Args:
        runs: the records by folder.
        whole_paper: whether to add an empty group for each table of the paper that no run is of.
    """
    groups: dict[Group, Runs] = {}
    for folder, record in runs.items():
        groups.setdefault(group_of(record), {})[folder] = record
    if whole_paper:
        present = {(group.data, group.network) for group in groups}
        pairs = paper()[["data", "network"]].drop_duplicates().itertuples(index=False)
        for data, network in pairs:
            if (data, network) not in present:
                groups[Group(data, DATA_TITLES[data], network, (("runs", "no runs yet"),))] = {}
    return groups


def method_of(record: Mapping[str, Any]) -> str:
    """Return the name of a run's row: the title of its loss.

    It adds the number of members of an ensemble, and the version of an outdated loss.
    """
    title = record["titles"]["loss"]
    if "members" in record:
        title = f"{title} of {len(record['members'])}"
    config = record["config"]
    loss = versions.loss_of(config)
    return with_version(title, loss, config.get("versions", {}).get(loss, 1))


def is_from_elsewhere(record: Mapping[str, Any]) -> bool:
    """Return whether evaluate.py made a record from another program's outputs."""
    return "outputs" in record["config"]


def is_trained(record: Mapping[str, Any]) -> bool:
    """Return whether main.py trained the network of a record. An ensemble is not trained."""
    return "members" not in record and not is_from_elsewhere(record)


def detector_title(name: str, entry: Mapping[str, Any]) -> str:
    """Return the title of a detector from its entry in a record."""
    return with_version(entry["title"], name, entry.get("version", 1))


def with_version(title: str, name: str, version: int) -> str:
    """Return the title of a loss or detector, with its version if that is outdated."""
    return title if version == versions.of(name) else f"{title} (version {version})"
