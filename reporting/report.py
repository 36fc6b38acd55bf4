"""Writes a page of results.

It holds the tables, figures, operating points, and the images that the detectors get most wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from pathlib import Path
from typing import Any, TypeVar

from data.catalog import title_of
from experiment.config import RunConfig
from experiment.data import Data, load_data
from utils.files import whole_file
from utils.output import print_error, print_line

from .aggregation import main_table
from .classification import classification_tables
from .comparisons import comparison_table
from .conclusion import conclude
from .confusion import confusion_tables
from .details import detail_tables
from .examples import Strip, most_wrong
from .figures import History
from .grouping import RunTable, tables_of
from .near_far import near_far_table
from .origin import origin
from .outcomes import DAMAGED, Outcome, load_each, load_history, load_outcome
from .page import Section, operating_points, render
from .paper import in_the_papers_order
from .pictures import pictures, rank_picture
from .ranking import Ranking, ranking, ranking_table
from .run_rows import Measured
from .runs import Runs, group_runs, is_from_elsewhere, is_trained, method_of
from .style import looks

FIGURES = "figures"  # the folder of figures, in the report's
T = TypeVar("T")


def write_report(
    folder: Path,
    runs: Runs,
    measured: Measured,
    methods: Container[str] | None = None,
    bold: str = "test",
    against: str = "",
) -> int:
    """Write `index.html`, which needs no other file, and the figures as PNG and PDF beside it.

    Args:
        folder: is created if it does not exist; files of the same names in it are replaced.
        runs: the finished runs' records by folder, with unique titles.
        measured: inference efficiencies.
        methods: the rows of the main tables to show, by their methods; by default all.
        bold: which numbers are bold, a key of `bold.RULES`.
        against: the method with which the others are compared; "" for SoftMax, if it is there.

    Returns the exit status: 0 written, 2 not possible.
    """
    figures = folder / FIGURES
    try:
        figures.mkdir(parents=True, exist_ok=True)
        tables = tables_of(group_runs(runs), methods=methods, measured=measured)
        sections = [
            _section(number, table, figures, bold, against)
            for number, table in enumerate(tables, 1)
        ]
        ranks = ranking([table.parts[0].rows for table in tables])
        picture = rank_picture(ranks, figures) if isinstance(ranks, Ranking) else None
        text = render(sections, origin(runs), bold, ranking_table(ranks), picture)
        with whole_file(folder / "index.html") as path:
            # A folder's name may not be UTF-8.
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except (ValueError, OSError) as error:
        return print_error(f"no report in {folder}: {error}")
    for section in sections:
        for note in section.notes:
            print_line(f"{section.title}: {note}")
    print_line(f"written to {folder / 'index.html'}; its figures, as PNG and PDF, to {figures}")
    return 0


def _section(number: int, table: RunTable, figures: Path, bold: str, against: str) -> Section:
    """Return the page's section on a table's runs, which are one group, and write its figures."""
    (part,), notes = table.parts, []
    members = part.runs
    outcomes: dict[str, list[Outcome]] = _load_all(members, load_outcome, "the figures lack", notes)
    trained = {folder: record for folder, record in members.items() if is_trained(record)}
    histories: dict[str, list[History]] = _load_all(
        trained, load_history, "the training curves lack", notes
    )
    data = _images(outcomes, notes)
    look = looks(in_the_papers_order(map(method_of, members.values())))
    return Section(
        anchor=f"part{number}",
        title=table.title,
        how=table.how,
        conclusion=conclude(part.rows),
        table=main_table(table, bold),
        means=near_far_table(part.named_runs),
        comparison=comparison_table(part.rows, against),
        details=[*classification_tables(part.named_runs), *detail_tables(part.named_runs)],
        pictures=pictures(outcomes, histories, look, figures / f"{number}"),
        points=operating_points(outcomes) if outcomes else None,
        confusions=confusion_tables(outcomes, data.train.classes if data else ()),
        examples=_examples(outcomes, data, notes),
        notes=notes,
    )


def _load_all(
    runs: Runs, load: Callable[[Path, dict[str, Any]], T], lacking: str, notes: list[str]
) -> dict[str, list[T]]:
    """Load something of each run. Return it by method, in the paper's order.

    Args:
        runs: the records by folder.
        load: a folder and its record to what is wanted; may raise any of `DAMAGED`.
        lacking: the start of a note on the runs that cannot be loaded.
        notes: a note for each reason is added to it.
    """
    if not runs:
        return {}
    first = next(iter(runs))

    def load_like_first(folder: Path, record: dict[str, Any]) -> T:
        if record["detection"].keys() != runs[first]["detection"].keys():
            raise ValueError(f"{folder} has other OOD sets than {first}")
        return load(folder, record)

    found, missing = load_each(runs, load_like_first)
    loaded: dict[str, list[T]] = {}
    for method, value in found:
        loaded.setdefault(method, []).append(value)
    notes += [f"{lacking} {', '.join(names)}: {reason}" for reason, names in missing.items()]
    return {method: loaded[method] for method in in_the_papers_order(loaded)}


def _images(outcomes: dict[str, list[Outcome]], notes: list[str]) -> Data | None:
    """Return the images of a group's runs. If they are not on this machine, a note says why."""
    trained = [runs[0].record for runs in outcomes.values() if is_trained(runs[0].record)]
    if not trained:
        return None
    try:
        return load_data(RunConfig.from_json(trained[0]["config"]))
    except DAMAGED as error:
        notes.append(_no_images(trained[0], error))
        return None


def _examples(
    outcomes: dict[str, list[Outcome]], data: Data | None, notes: list[str]
) -> dict[str, list[Strip]]:
    """Return the images that each method's first run gets most wrong; {} without images.

    If the images have changed since the run, a note says so.
    """
    if data is None:
        return {}
    # The images of outputs from elsewhere may have another order.
    first = {
        method: runs[0]
        for method, runs in outcomes.items()
        if not is_from_elsewhere(runs[0].record)
    }
    try:
        return {method: most_wrong(run, data) for method, run in first.items()}
    except DAMAGED as error:
        notes.append(_no_images(next(iter(first.values())).record, error))
        return {}


def _no_images(record: Mapping[str, Any], error: BaseException) -> str:
    return f"no images of {title_of(record['config']['data'])} are shown: {error}"
