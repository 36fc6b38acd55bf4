"""Makes titles unique. A title is what tables call a data set, a network, a loss or a detector."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from utils.output import visible

Key = TypeVar("Key", bound=Hashable)
SIGNS = {"epsilon": "ε", "temperature": "T"}
# What tables add after a title. Titles that differ in nothing else count as one.
ADDED = re.compile(r"( of \d+| \(version \d+\)|, preprocessing.*| \[mps\])+$")


def told_apart(candidates: Mapping[Key, Sequence[str]]) -> dict[Key, str]:
    """A title for each key that no other key has: the first of its candidates, or the next one
    while another key has it too.

    Titles that differ only in capitals, or in what tables add, count as one.
    """
    # Every key gets a last candidate with a number, for keys whose other candidates are all alike.
    listed = {
        key: [*given, f"{given[-1]} [{number}]"]
        for number, (key, given) in enumerate(candidates.items(), 1)
    }
    taken = dict.fromkeys(listed, 0)
    while True:
        titles = {key: visible(given[taken[key]]) for key, given in listed.items()}
        count = Counter(map(_seen, titles.values()))
        alike = [
            key
            for key, title in titles.items()
            if count[_seen(title)] > 1 and taken[key] + 1 < len(listed[key])
        ]
        if not alike:
            return titles
        for key in alike:
            taken[key] += 1


def _seen(title: str) -> str:
    """A title in the form in which titles are compared."""
    return ADDED.sub("", unicodedata.normalize("NFKC", title).casefold())


def of_sources(titles: Mapping[str, str]) -> dict[str, str]:
    """Source → its title.

    If several sources share a title, each gets the shortest ending of its path that no other has.
    """
    return told_apart(
        {source: [title, *_longer(source, title)] for source, title in titles.items()}
    )


def _longer(source: str, title: str) -> list[str]:
    """The titles to try after the source's own: the endings of its path, the shortest first."""
    parts = PurePosixPath(source).parts
    if len(parts) < 2:  # a name of the catalog: it keeps its own title longer than a path does
        return [title, f"{title} ({source})"]
    stem = re.sub(r"\.(npz|txt)$", "", source)
    endings = [
        "/".join(PurePosixPath(path).parts[-length:])
        for length in range(1, len(parts))
        for path in (stem, source)
    ]
    return [each for each in dict.fromkeys([*endings, source]) if each != title]


def of_names(titles: Mapping[str, str]) -> dict[str, str]:
    """Name → its title. If several names share a title, the name follows it in brackets."""
    return told_apart({name: [title, f"{title} ({name})"] for name, title in titles.items()})


def constants(name: str, added: Mapping[str, Any]) -> dict[str, Any]:
    """The constants that a detector was told to use, by name, from its entry in a record; {} if it
    has no such options.
    """
    if name not in ("odin", "preprocessing") or "sets" not in added:
        return {}
    if "constants" in added:
        return added["constants"]
    # Earlier entries hold only the constants that were used. From version 2 on, the title tells
    # whether ε was chosen.
    own, title = added.get("parameters", {}), added["title"]
    chosen = "chosen" in title or (name == "preprocessing" and "ε" not in title)
    return own | {"epsilon": "chosen"} if chosen and added.get("version", 1) > 1 else own


def as_suffix(given: Mapping[str, Any]) -> str:
    """Constants as text to put after a title.

    They are not rounded: different constants must look different.
    """
    return "".join(
        f", {SIGNS.get(name, name)} {str(value or 0).removesuffix('.0')}"
        for name, value in sorted(given.items())
    )


def _detector(name: str, added: Mapping[str, Any]) -> tuple[str, str, str, int]:
    """The key of an entry's row in a table: entries with equal keys are averaged."""
    return name, added["title"], as_suffix(constants(name, added)), added.get("version", 1)


def _of_detectors(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str, int], str]:
    """Key of a row (see `_detector`) → its title.

    It names the constants if other rows have the same title.
    """
    keys = dict.fromkeys(
        _detector(name, added)
        for run in records
        for name, added in run.get("detectors", {}).items()
    )
    scores = {
        name
        for run in records
        for found in run["detection"].values()
        for name in found["scores"]["t1"]
    }
    titles = {}
    # Tables add the version, so rows of two versions never look alike.
    for version in {key[3] for key in keys}:
        rows = {
            (name, title, given, at): [
                *dict.fromkeys([title, title + given, f"{title}{given} ({name})"])
            ]
            for name, title, given, at in keys
            if at == version
        }
        titles |= told_apart(rows | {score: [score] for score in sorted(scores)})
    return titles


def with_unique_titles(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of records in which every title is unique and holds no control characters."""
    data = of_sources(_first((run["config"]["data"], run["titles"]["data"]) for run in records))
    models = of_names(_first((run["config"]["model"], run["titles"]["model"]) for run in records))
    losses = of_names(_first((run["config"]["loss"], run["titles"]["loss"]) for run in records))
    sets = of_sources(
        _first(
            (source, found["title"])
            for run in records
            for source, found in run["detection"].items()
        )
    )
    detectors = _of_detectors(records)
    return [
        {
            **run,
            "titles": {
                "data": data[run["config"]["data"]],
                "model": models[run["config"]["model"]],
                "loss": losses[run["config"]["loss"]],
            },
            "detection": {
                source: {**found, "title": sets[source]}
                for source, found in run["detection"].items()
            },
            "detectors": {
                name: {**added, "title": detectors[_detector(name, added)]}
                for name, added in run.get("detectors", {}).items()
            },
        }
        for run in records
    ]


def _first(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Key → the first title given for it."""
    found: dict[str, str] = {}
    for key, title in pairs:
        found.setdefault(key, title)
    return found
