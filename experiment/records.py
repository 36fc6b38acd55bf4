"""The only reader and writer of a run's JSON files. Every file is written whole or not at all."""

import json
from pathlib import Path
from typing import Any, NoReturn

from utils.files import open_regular, whole_file

from . import schema

FORMAT = 1  # of metrics.json; a reader refuses other formats
CONFIG, EPOCHS, LAST, PREVIOUS = "config.json", "epochs.jsonl", "last.pt", "previous.pt"
METRICS, PREDICTIONS, MODEL = "metrics.json", "predictions.npz", "model.pt"


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a run's metrics.json. Raises ValueError for a record that could not be read."""
    try:
        schema.check(record)
    except ValueError as error:
        raise ValueError(f"{path} is not written, since nothing could read it: {error}") from error
    write_json(path, record)


def write_lines(path: Path, values: list[Any]) -> None:
    """Write one JSON value a line."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(value) + "\n" for value in values))


def read_json(path: Path) -> Any:
    """Read a JSON file. A name given twice, NaN and Infinity count as damage.

    Raises ValueError, naming the file, if it is cut short or damaged; OSError if it cannot be read.
    """
    with open_regular(path) as file:
        content = file.read()
    try:
        return json.loads(content.decode(), object_pairs_hook=unique, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is cut short or damaged ({error}): delete its folder, and run the same "
            "command again"
        ) from error


def unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Names and values as a dict. Raises ValueError for a name given twice."""
    values: dict[Any, Any] = {}
    for name, value in pairs:
        if name in values:
            raise ValueError(f"it has {name!r} twice")
        values[name] = value
    return values


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant} in place of a number")


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """A run's training log, one entry an epoch.

    Raises ValueError, naming the file, if it is missing or damaged.
    """
    path = folder / EPOCHS
    try:
        with open_regular(path) as file:
            return [json.loads(line) for line in file.read().decode().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is missing or damaged ({error})") from error


def read_record(path: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises ValueError, naming the file, if it is damaged or of another format.
    """
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        name = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ValueError(
            f"{path} is of format {name}, this version reads format {FORMAT}: run it again into "
            "another folder"
        )
    try:
        schema.check(record)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged inside ({error}): run it again into another folder"
        ) from error
    return record


def refuse_another(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record that is in a folder now. Only its `detectors` may differ from `record`.

    Raises ValueError if it is the record of another run.
    """
    path = folder / METRICS
    now = read_record(path) if path.exists() else {}
    if _without_detectors(record) != _without_detectors(now):
        raise ValueError(
            f"{folder} was deleted or made again meanwhile: nothing is written; run the same "
            "command again"
        )
    return now


def _without_detectors(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "detectors"}


def refuse_result_file(path: Path) -> None:
    """Raises ValueError if `path`, which --out names, is a result file of a run."""
    if path.name in (CONFIG, METRICS) and path.exists():
        raise ValueError(f"--out {path} would overwrite a file of a run: name another")
