"""Joins groups of runs into tables: a table for each group, or for those that share fields."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiment.recipes import ELSEWHERE
from experiment.titles import unique_titles
from utils.output import visible

from .columns import RunRow
from .paper import paper_name, paper_rows
from .run_rows import Measured, efficiencies_of, run_rows
from .runs import Group, Runs, is_from_elsewhere, method_of

NETWORK = ("network", "model")  # two names of one field


@dataclass(frozen=True)
class Part:
    """The rows of a table that one group of runs has."""

    group: Group
    runs: Runs
    rows: Sequence[RunRow]  # of these runs: those that are shown
    paper: Mapping[str, Mapping[str, float]]  # the paper's rows that are shown, of `paper_rows`
    suffix: str = ""  # what a row's name adds to its method: what differs within the table

    @property
    def named_runs(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The row's name and the record of each run whose own row is shown."""
        return [
            (row.method + self.suffix, row.record)
            for row in self.rows
            if row.method == method_of(row.record)
        ]


@dataclass(frozen=True)
class RunTable:
    """The runs of one table."""

    title: str
    fields: Sequence[tuple[str, str]]  # what all runs share, as a group has it
    parts: Sequence[Part]

    @property
    def how(self) -> str:
        """What all runs share, in words."""
        return ", ".join([*(words for _, words in self.fields), *self._outside()])

    @property
    def brief(self) -> str:
        """What all runs share, in words, without what has changed since old versions."""
        return ", ".join([*(_short(name, words) for name, words in self.fields), *self._outside()])

    def _outside(self) -> list[str]:
        """Say which rows another program trained, if the table says how its runs were trained."""
        names = dict.fromkeys(
            name
            for name, record in self.named_runs
            if is_from_elsewhere(record) and record["config"]["recipe"] != ELSEWHERE
        )
        return [f"{', '.join(names)} trained elsewhere"] if names else []

    @property
    def named_runs(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The row's name and the record of each run whose own row is shown."""
        return [pair for part in self.parts for pair in part.named_runs]


def part_of(
    group: Group,
    runs: Runs,
    methods: Container[str] | None = None,
    measured: Measured | None = None,
) -> Part:
    """Return the rows of a group of runs, and the paper's.

    Args:
        group: of the runs.
        runs: the records by folder.
        methods: the methods whose rows are shown; by default all.
        measured: inference efficiencies.
    """
    rows = [
        row
        for folder, record in runs.items()
        for row in run_rows(record, efficiencies_of(measured or {}, folder))
        if methods is None or row.method in methods
    ]
    shown = {paper_name(row.method) for row in rows}
    papers = {
        method: numbers
        for method, numbers in paper_rows(group.data, group.network).items()
        if methods is None or method in methods or method in shown
    }
    return Part(group, runs, rows, papers)


def tables_of(
    groups: Mapping[Group, Runs],
    fields: Sequence[str] = (),
    methods: Container[str] | None = None,
    measured: Measured | None = None,
) -> list[RunTable]:
    """Return a table for each group, or for all groups with the same values of some fields.

    The names of a joined table's rows say in which of the other fields they differ.

    Args:
        groups: the runs of each group.
        fields: names of fields: `data`, `network`, `ood`, or any that a group's `fields` has.
        methods, measured: as in `part_of`.

    Raises ValueError for an unknown field.
    """
    parts = [part_of(group, runs, methods, measured) for group, runs in groups.items()]
    if not fields:
        return [
            RunTable(f"{part.group.data_title}, {part.group.network}", part.group.fields, [part])
            for part in parts
        ]
    chosen = [_known_field(name, groups) for name in fields]
    joined: dict[tuple[str, ...], list[Part]] = {}
    for part in parts:
        words = _words(part.group)
        joined.setdefault(tuple(words.get(name, "") for name in chosen), []).append(part)
    return [_joined_table(members) for members in joined.values()]


def _words(group: Group) -> dict[str, str]:
    """Return the words for a group's value of every field."""
    places = {"data": group.data_title, "network": group.network}
    return places | dict(group.fields) | {"ood": " ".join(group.ood)}


def _known_field(name: str, groups: Iterable[Group]) -> str:
    """Return a field as `_words` names it. Raises ValueError if no group has it."""
    known = dict.fromkeys(field for group in groups for field in _words(group))
    field = name.casefold().replace("_", "-")
    field = NETWORK[0] if field in NETWORK else field
    if field not in known:
        raise ValueError(
            f"--group-by {name}: the tables have no such field; there are {', '.join(known)} "
            "(a loss is a row, and seeds are averaged)"
        )
    return field


def _joined_table(parts: Sequence[Part]) -> RunTable:
    """Return the table of several groups."""
    words = {part.group: _words(part.group) for part in parts}
    names = dict.fromkeys(name for each in words.values() for name in each if name != "ood")
    values = {name: {each.get(name, "") for each in words.values()} for name in names}
    shared = {name: next(iter(value)) for name, value in values.items() if len(value) == 1}
    suffixes = {
        group: "".join(
            f", {_short(name, text)}"
            for name, text in each.items()
            if name in names.keys() - shared
        )
        for group, each in words.items()
    }
    if "data" not in shared:
        shared["bold"] = "bold compares rows of the same data set"
    unique = _unique(suffixes)
    title = ", ".join(shared.pop(name) for name in ("data", "network") if name in shared)
    return RunTable(
        title or "several data sets and networks",
        [*shared.items()],
        [replace(part, suffix=unique[part.group]) for part in parts],
    )


def _short(name: str, words: str) -> str:
    """Return words for a row's name: of a version, without what has changed since."""
    return re.sub(r" \(.*?\)(?=, |$)", "", words) if name == "versions" else words


def _unique(suffixes: Mapping[Group, str]) -> dict[Group, str]:
    """Return suffixes of which no two are equal: equal ones add the OOD sets that differ."""
    common = set.intersection(*(set(group.ood) for group in suffixes))
    candidates = {}
    for group, suffix in suffixes.items():
        own = list(dict.fromkeys(name for name in group.ood if name not in common))
        # A set is there as the configuration names it, and with its role.
        own = [name for name in own if not any(other.endswith(f"={name}") for other in own)]
        sets = f"with OOD {' '.join(own)}" if own else "shared OOD sets only"
        candidates[group] = [suffix, visible(f"{suffix}, {sets}")]
    return unique_titles(candidates)
