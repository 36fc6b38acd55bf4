"""A page of results: the paper's tables beside ours, figures, operating points, and the images that detectors get most wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from utils import records
from utils.aggregation import Efficiencies, grouped, method_of
from utils.output import complain, say
from utils.paper import in_the_papers_order

from .examples import images_of, most_wrong
from .outcomes import Outcome, load_outcome
from .page import Picture, Section, render, save_figure, tables_of

FIGURES = "figures"  # the folder of figures, in the report's

__all__ = ["write_report"]


def write_report(folder: Path, runs: dict[Path, dict[str, Any]], measured: Efficiencies) -> int:
    """Write `index.html`, which needs no other file, and the figures as PNG and PDF beside it.

    Args:
        folder: is made if it is not there; files of the same names in it are replaced.
        runs: the finished runs' records by folder, as `records.find_records` gives them.
        measured: inference efficiencies.

    Returns the exit status: 0 written, 2 not possible.
    """
    try:
        (folder / FIGURES).mkdir(parents=True, exist_ok=True)
        folders = {id(record): place for place, record in runs.items()}
        sections = []
        for number, members in enumerate(grouped(list(runs.values())).values(), 1):
            placed = [(folders[id(record)], record) for record in members]
            sections.append(_section(number, placed, measured, folder / FIGURES))
        with records.whole_file(folder / "index.html") as path:
            path.write_text(render(sections), encoding="utf-8")
    except (ValueError, OSError) as error:
        return complain(error)
    for section in sections:
        for note in section.notes:
            say(f"{section.title}: {note}")
    say(f"written to {folder / 'index.html'}; its figures, as PNG and PDF, to {folder / FIGURES}")
    return 0


def _section(number: int, placed: list[tuple[Path, dict[str, Any]]], measured: Efficiencies, figures: Path) -> Section:
    """What the page says of one group of runs; its figures are written on the way."""
    section = tables_of(number, [record for _, record in placed], measured)
    histories: dict[str, list[list[dict[str, Any]]]] = {}
    methods: dict[str, list[Outcome]] = {}
    for folder, record in placed:
        method = method_of(record)
        try:
            if "members" not in record:  # an ensemble was not trained
                histories.setdefault(method, []).append(records.read_epochs(folder))
        except ValueError as error:
            section.notes.append(f"no training curve of {method}: {error}")
        try:
            methods.setdefault(method, []).append(load_outcome(folder, record))
        except ValueError as error:
            section.notes.append(f"{method}, seed {record['config']['seed']}, is missing from the figures: {error}")
    methods = {method: methods[method] for method in in_the_papers_order(methods) if methods[method]}
    histories = {method: histories[method] for method in in_the_papers_order(histories) if histories[method]}
    section.pictures = [save_figure(picture, figures / f"{number}") for picture in Picture.all_of(methods, histories)]
    if methods:
        section.operating_points(methods)
        _add_examples(section, methods)
    return section


def _add_examples(section: Section, methods: dict[str, list[Outcome]]) -> None:
    """The images that each method's first run gets most wrong, if they are on this machine."""
    trained = [runs[0].record for runs in methods.values() if "members" not in runs[0].record]
    try:
        data = images_of(trained[0]) if trained else None
        if data is not None:
            section.examples = {method: most_wrong(runs[0], data) for method, runs in methods.items()}
    except (ValueError, OSError) as error:
        section.notes.append(f"no example images: {error}")
