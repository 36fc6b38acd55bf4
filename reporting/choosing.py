"""Finds what `--only` and `--columns` name."""

import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from .columns import RunRow
from .paper import paper_name, paper_rows
from .run_rows import run_rows
from .runs import Group, Runs, method_of
from .table import Table

Key = TypeVar("Key", bound=Hashable)


class Name(NamedTuple):
    """Something that `--only` may name."""

    kind: str  # method, data set or network
    title: str


def named(text: str, names: Mapping[Key, Sequence[str]]) -> list[Key]:
    """Return what a text names: what is called so, or else all whose title contains the text.

    Capitals, spaces and percent signs do not count.

    Args:
        text: the text.
        names: the title and the other names of each thing.
    """
    wanted = compared(text)
    equal = [key for key, own in names.items() if wanted in map(compared, own)]
    return equal or [key for key, own in names.items() if wanted in compared(own[0])]


def names_of(row: RunRow) -> list[str]:
    """Return the name of a row, and other names of its method: as in the paper's table, without an
    outdated version, and as `main.py --loss` has it.
    """
    names = [row.method, paper_name(row.method), re.sub(r" \(version \d+\)$", "", row.method)]
    # The other rows of a run have more in their names than its loss.
    return names + ([row.record["config"]["loss"]] if row.method == method_of(row.record) else [])


def compared(text: str) -> str:
    """Return the form in which texts are compared."""
    return re.sub(r"[\s%]", "", unicodedata.normalize("NFKC", text).casefold())


def choose_runs(
    groups: Mapping[Group, Runs], texts: Sequence[str]
) -> tuple[dict[Group, Runs], set[str] | None]:
    """Return the runs that `--only` names, by group, and the methods whose rows to show.

    A run is kept if it is of one of the named methods, data sets and networks. Where no method is
    named all are kept, and None is returned for them; likewise for data sets and networks.

    Raises ValueError for a text that names nothing, or if no table is left.
    """
    names = _names(groups)
    chosen: dict[str, set[str]] = {}
    for text in texts:
        found = named(text, names)
        if not found:
            there = ", ".join(name.title for name in names)
            raise ValueError(
                f"--only {text}: no method, data set or network is called so; there are {there}"
            )
        # A part of a name may be in a data set's name and in a network's: the first kind counts.
        chosen.setdefault(found[0].kind, set()).update(
            name.title for name in found if name.kind == found[0].kind
        )
    methods = chosen.get("method")
    kept = {}
    for group, runs in groups.items():
        if group.data_title not in chosen.get("data set", {group.data_title}):
            continue
        if group.network not in chosen.get("network", {group.network}):
            continue
        left = {
            folder: record
            for folder, record in runs.items()
            if methods is None or any(row.method in methods for row in run_rows(record))
        }
        of_paper = not runs and (methods is None or methods & _paper_methods(group))
        if left or of_paper:
            kept[group] = left
    if not kept:
        raise ValueError(f"--only {' '.join(texts)}: no run is of all of these")
    return kept, methods


def _paper_methods(group: Group) -> set[str]:
    """Return the methods that the paper's table of a group has."""
    return set(paper_rows(group.data, group.network))


def _names(groups: Mapping[Group, Runs]) -> dict[Name, list[str]]:
    """Return all that `--only` may name in these groups, with the title and the other names."""
    names: dict[Name, list[str]] = {}
    for group, runs in groups.items():
        for record in runs.values():
            for row in run_rows(record):
                names[Name("method", row.method)] = names_of(row)
        for method in _paper_methods(group):
            names.setdefault(Name("method", method), [method])
    for group in groups:
        names[Name("data set", group.data_title)] = [group.data_title, group.data]
    for group, runs in groups.items():
        models = {record["config"]["model"] for record in runs.values()}
        names[Name("network", group.network)] = [group.network, *sorted(models)]
    return names


def choose_columns(tables: Sequence[Table], texts: Sequence[str]) -> list[Table]:
    """Return main tables with only the columns that `--columns` names, in its order.

    A table may lack a column that another one has.

    Raises ValueError for a text that names no column of any table.
    """
    titles = dict.fromkeys(head for table in tables for head in table.heads[1:])
    names = {title: [title] for title in titles}
    chosen: dict[str, None] = {}
    for text in texts:
        found = named(text, names)
        if not found:
            raise ValueError(
                f"--columns {text}: no table has such a column; there are {', '.join(titles)}"
            )
        chosen |= dict.fromkeys(found)
    shown = []
    for table in tables:
        places = [0, *(table.heads.index(title) for title in chosen if title in table.heads[1:])]
        heads, *rows = [[row[at] for at in places] for row in (table.heads, *table.rows)]
        shown.append(replace(table, heads=heads, rows=rows))
    return shown
