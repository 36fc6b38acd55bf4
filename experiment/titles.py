"""Makes titles unique. Tables call data sets, networks, losses and detectors by their titles."""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple, TypeVar

from utils.output import visible

Key = TypeVar("Key", bound=Hashable)
SYMBOLS = {"epsilon": "ε", "temperature": "T"}
# What tables add after a title. Titles that differ in nothing else count as equal.
SUFFIXES = re.compile(r"( of \d+| \(version \d+\)|, preprocessing.*| \[mps\])+$")


def unique_titles(candidates: Mapping[Key, Sequence[str]]) -> dict[Key, str]:
    """Return a title for each key that no other key has.

    It is the key's first candidate. While another key has it too, both take their next one.
    Titles that differ only in capitals, or in what tables add, count as equal.

    Args:
        candidates: each key's titles, the preferred one first.
    """
    # The last candidate has a number, for keys whose other candidates are all equal.
    numbered = {
        key: [*titles, f"{titles[-1]} [{number}]"]
        for number, (key, titles) in enumerate(candidates.items(), 1)
    }
    position = dict.fromkeys(numbered, 0)
    while True:
        chosen = {key: visible(titles[position[key]]) for key, titles in numbered.items()}
        count = Counter(map(_compared, chosen.values()))
        repeated = [
            key
            for key, title in chosen.items()
            if count[_compared(title)] > 1 and position[key] + 1 < len(numbered[key])
        ]
        if not repeated:
            return chosen
        for key in repeated:
            position[key] += 1


def _compared(title: str) -> str:
    """Return the form in which titles are compared."""
    return SUFFIXES.sub("", unicodedata.normalize("NFKC", title).casefold())


def of_sources(titles: Mapping[str, str]) -> dict[str, str]:
    """Return a unique title for each source of data, from their own titles.

    If sources share a title, each gets the shortest ending of its path that no other source has.
    """
    return unique_titles(
        {source: [title, *_longer_titles(source, title)] for source, title in titles.items()}
    )


def _longer_titles(source: str, title: str) -> list[str]:
    """Return the titles to try after a source's own: the endings of its path, shortest first."""
    parts = PurePosixPath(source).parts
    if len(parts) < 2:
        # The source is a name of the catalog. Its title is tried twice, so a path with the same
        # title is the first to get a longer one.
        return [title, f"{title} ({source})"]
    stem = re.sub(r"\.(npz|txt)$", "", source)
    endings = [
        "/".join(PurePosixPath(path).parts[-length:])
        for length in range(1, len(parts))
        for path in (stem, source)
    ]
    return [ending for ending in dict.fromkeys([*endings, source]) if ending != title]


def constants(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the constants that a detector's options asked for, by name, from its entry in a
    record; {} if it has no options, or does not apply.
    """
    return entry.get("constants", {}) if "sets" in entry else {}


def as_suffix(values: Mapping[str, Any]) -> str:
    """Return constants as text to put after a title.

    They are not rounded: different constants must look different.
    """
    return "".join(
        f", {SYMBOLS.get(name, name)} {str(value or 0).removesuffix('.0')}"
        for name, value in sorted(values.items())
    )


class _DetectorRow(NamedTuple):
    """What entries of detectors must share to be averaged in one row of a table."""

    name: str
    title: str
    constants: str  # as text
    version: int


def _row_of(name: str, entry: Mapping[str, Any]) -> _DetectorRow:
    """Return the row of a detector's entry in a record."""
    suffix = as_suffix(constants(entry))
    return _DetectorRow(name, entry["title"], suffix, entry.get("version", 1))


def _detector_titles(records: Sequence[Mapping[str, Any]]) -> dict[_DetectorRow | str, str]:
    """Return a unique title for each row of a detector.

    It has the constants if other rows have the same title. The titles of scores are taken.
    """
    rows = dict.fromkeys(
        _row_of(name, entry)
        for record in records
        for name, entry in record.get("detectors", {}).items()
    )
    scores = {
        score
        for record in records
        for entry in record["detection"].values()
        for score in entry["scores"]["t1"]
    }
    titles: dict[_DetectorRow | str, str] = {}
    # Tables add the version, so rows of two versions never look the same.
    for version in {row.version for row in rows}:
        candidates: dict[_DetectorRow | str, list[str]] = {}
        for row in rows:
            if row.version == version:
                longer = row.title + row.constants
                # An equal title that is listed twice would only be tried twice.
                options = dict.fromkeys([row.title, longer, f"{longer} ({row.name})"])
                candidates[row] = list(options)
        candidates |= {score: [score] for score in sorted(scores)}
        titles |= unique_titles(candidates)
    return titles


def with_unique_titles(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return copies of records in which titles are unique and hold no control characters."""
    data = of_sources(_first_titles(_config_title(record, "data") for record in records))
    models = _titles_by_record(records, "model")
    losses = _titles_by_record(records, "loss")
    sets = of_sources(
        _first_titles(
            (source, entry["title"])
            for record in records
            for source, entry in record["detection"].items()
        )
    )
    detectors = _detector_titles(records)
    copies = []
    for record, model, loss in zip(records, models, losses, strict=True):
        titles = {"data": data[record["config"]["data"]], "model": model, "loss": loss}
        detection = {
            source: {**entry, "title": sets[source]}
            for source, entry in record["detection"].items()
        }
        added = {
            name: {**entry, "title": detectors[_row_of(name, entry)]}
            for name, entry in record.get("detectors", {}).items()
        }
        copies.append({**record, "titles": titles, "detection": detection, "detectors": added})
    return copies


def _titles_by_record(records: Sequence[Mapping[str, Any]], field: str) -> list[str]:
    """Return the unique title of each record's network (`model`) or method (`loss`).

    evaluate.py makes a folder's name of a title, so two titles may have one name there. A method
    of another program is none of main.py's, whatever it is called; its network may be.
    """
    elsewhere = ["outputs" in record["config"] for record in records]
    pairs = [_config_title(record, field) for record in records]
    own = _first_titles(pair for pair, other in zip(pairs, elsewhere, strict=True) if not other)
    keys, candidates = [], {}
    for (name, title), other in zip(pairs, elsewhere, strict=True):
        same = own.get(name, "").casefold() == title.casefold()
        keys.append((name, title.casefold() if other and not (field == "model" and same) else ""))
        longer = "trained elsewhere" if other and field == "loss" else name
        candidates.setdefault(keys[-1], [title, f"{title} ({longer})"])
    titles = unique_titles(candidates)
    return [titles[key] for key in keys]


def _config_title(record: Mapping[str, Any], field: str) -> tuple[str, str]:
    """Return a field of a record's configuration, and its title."""
    return record["config"][field], record["titles"][field]


def _first_titles(pairs: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Return the first title of each key."""
    titles: dict[Key, str] = {}
    for key, title in pairs:
        titles.setdefault(key, title)
    return titles
