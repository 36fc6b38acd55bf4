"""A page of results: the paper's tables beside ours, figures, operating points, and the images that
detectors get most wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from data.catalog import title_of
from experiment.config import RunConfig
from experiment.data import load_data
from utils.files import whole_file
from utils.output import print_error, print_line

from .aggregation import Efficiencies, detail_tables, group_of, main_table, method_of
from .examples import Strip, most_wrong
from .figures import History, looks, pictures
from .groups import HEADS, group_rows
from .outcomes import Outcome, load_history, load_outcome
from .page import Section, Table, operating_points, render
from .paper import in_the_papers_order

FIGURES = "figures"  # the folder of figures, in the report's
Placed = list[tuple[Path, dict[str, Any]]]  # runs' folders and records
T = TypeVar("T")
# What comes of a run's files that are damaged, or of an image that is not there.
DAMAGED = (
    ValueError,
    OSError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)

__all__ = ["write_report"]


def write_report(folder: Path, runs: dict[Path, dict[str, Any]], measured: Efficiencies) -> int:
    """Write `index.html`, which needs no other file, and the figures as PNG and PDF beside it.

    Args:
        folder: is made if it is not there; files of the same names in it are replaced.
        runs: the finished runs' records by folder, as `search.find_records` gives them.
        measured: inference efficiencies.

    Returns the exit status: 0 written, 2 not possible.
    """
    groups: dict[tuple[str, ...], Placed] = {}
    for place, record in runs.items():
        groups.setdefault(group_of(record), []).append((place, record))
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        numbered = enumerate(groups.items(), 1)
        sections = [
            _section(number, group, placed, measured, folder / FIGURES)
            for number, (group, placed) in numbered
        ]
        with whole_file(folder / "index.html") as path:
            # A folder's name may be no UTF-8.
            path.write_text(render(sections), encoding="utf-8", errors="backslashreplace")
    except (ValueError, OSError) as error:
        return print_error(f"no report in {folder}: {error}")
    for section in sections:
        for note in section.notes:
            print_line(f"{section.title}: {note}")
    print_line(
        f"written to {folder / 'index.html'}; its figures, as PNG and PDF, to {folder / FIGURES}"
    )
    return 0


def _section(
    number: int, group: tuple[str, ...], placed: Placed, measured: Efficiencies, figures: Path
) -> Section:
    """What the page says of one group of runs; its figures are written on the way."""
    data, data_title, network, how = group[:4]
    members, notes = [record for _, record in placed], []
    outcomes: dict[str, list[Outcome]] = _gathered(placed, load_outcome, "the figures lack", notes)
    # An ensemble was not.
    trained = [(folder, record) for folder, record in placed if "members" not in record]
    histories: dict[str, list[History]] = _gathered(
        trained, load_history, "the training curves lack", notes
    )
    means = group_rows((method_of(record), record) for record in members)
    return Section(
        anchor=f"part{number}",
        title=f"{data_title}, {network}",
        how=how,
        table=Table(*main_table(members, data, network, measured)),
        means=Table(HEADS, means) if means else None,
        details={title: Table(heads, rows) for title, heads, rows in detail_tables(members)},
        pictures=pictures(
            outcomes,
            histories,
            looks(in_the_papers_order(map(method_of, members))),
            figures / f"{number}",
        ),
        points=operating_points(outcomes) if outcomes else None,
        examples=_examples(outcomes, notes),
        notes=notes,
    )


def _gathered(
    placed: Placed, load: Callable[[Path, dict[str, Any]], T], lacking: str, notes: list[str]
) -> dict[str, list[T]]:
    """What can be loaded of each method's runs, in the paper's order; what cannot is noted."""
    found: dict[str, list[T]] = {}
    missing: dict[str, list[str]] = {}  # why → the runs
    for folder, record in placed:
        try:
            if record["detection"].keys() != placed[0][1]["detection"].keys():
                raise ValueError(f"{folder} was judged by other sets than {placed[0][0]}")
            found.setdefault(method_of(record), []).append(load(folder, record))
        except DAMAGED as error:
            reason = (
                error
                if isinstance(error, ValueError | OSError)
                else f"{folder} is damaged inside ({type(error).__name__})"
            )
            missing.setdefault(str(reason), []).append(
                f"{method_of(record)} {record['config']['seed']}"
            )
    notes += [f"{lacking} {', '.join(runs)}: {reason}" for reason, runs in missing.items()]
    return {method: found[method] for method in in_the_papers_order(found) if found[method]}


def _examples(outcomes: dict[str, list[Outcome]], notes: list[str]) -> dict[str, list[Strip]]:
    """The images that each method's first run gets most wrong, if they are on this machine."""
    trained = [runs[0].record for runs in outcomes.values() if "members" not in runs[0].record]
    if not trained:
        return {}
    config = trained[0]["config"]
    try:
        data = load_data(RunConfig.from_json(config))
        return {method: most_wrong(runs[0], data) for method, runs in outcomes.items()}
    except DAMAGED as error:
        notes.append(f"no images of {title_of(config['data'])} are shown: {error}")
        return {}
