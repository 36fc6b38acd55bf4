"""The only reader and writer of result files. Every file is written whole or not at all."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from utils import versions
from utils.files import named_below, open_regular, whole_file

from . import contents
from .config import identity_of

FORMAT = 1  # of metrics.json; a reader refuses what it does not know
CONFIG, EPOCHS, LAST, PREVIOUS = "config.json", "epochs.jsonl", "last.pt", "previous.pt"
METRICS, PREDICTIONS, MODEL = "metrics.json", "predictions.npz", "model.pt"


def write_json(path: Path, value: Any) -> None:
    """Indented JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text)


def write_lines(path: Path, values: list[Any]) -> None:
    """One JSON value a line."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(value) + "\n" for value in values))


def refuse_runs_own(path: Path) -> None:
    """Raises ValueError for a file that an option names to be written, if it is one that a run
    keeps.
    """
    if path.name in (CONFIG, METRICS) and path.exists():
        raise ValueError(f"--out {path} would overwrite a file of a run: name another")


def write_predictions(
    folder: Path,
    outputs: Mapping[str, Mapping[str, ArrayLike]],
    labels: Mapping[str, ArrayLike],
    with_features: bool,
) -> None:
    """Keep each set's named outputs as `SET/OUTPUT`, with `SET/features` only where asked, and
    labels as `SET/labels`.
    """
    arrays = {f"{name}/labels": np.asarray(values) for name, values in labels.items()}
    for name, part in outputs.items():
        arrays |= {
            f"{name}/{key}": np.asarray(value)
            for key, value in part.items()
            if key != "features" or with_features
        }
    with whole_file(folder / PREDICTIONS) as path, open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_predictions(folder: Path) -> dict[str, dict[str, NDArray]]:
    """Set → output → array, `labels` among them.

    Raises ValueError, naming the file, for one that is missing or damaged.
    """
    path, found = folder / PREDICTIONS, {}
    try:
        with open_regular(path) as file, np.load(file) as arrays:
            for key in arrays:
                name, _, output = key.rpartition("/")
                found.setdefault(name, {})[output] = arrays[key]
    except (
        Exception
    ) as error:  # NumPy lets through what it meets in damaged bytes, a SyntaxError among it
        raise ValueError(
            f"{path} is missing or damaged ({error}): delete its folder, and make the run again"
        ) from error
    for name, part in found.items():
        logits = part.get("logits", np.zeros(0))
        if (
            logits.ndim != 2
            or logits.dtype.kind != "f"
            or not len(logits)
            or not np.isfinite(logits).all()
        ):
            raise ValueError(
                f"{path}: the logits of {name} are no finite numbers [N, C]: make the run again"
            )
    return found


def predictions_of(folder: Path, record: Mapping[str, Any]) -> dict[str, dict[str, NDArray]]:
    """The predictions of a run.

    Raises ValueError, naming the file, where they are not those that its record was made of.
    """
    kept, path = read_predictions(folder), folder / PREDICTIONS
    split = record["temperature"]["split"]
    wanted = dict.fromkeys(("test", split, *record["detection"]))
    lacking = [name for name in wanted if name not in kept]
    lacking += [f"{name}/labels" for name in ("test", split) if "labels" not in kept.get(name, {})]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(lacking)}: make the run again")
    judged = record["classification"]["test"]
    counts = {"test": judged["n"]} | {
        name: found["n"] for name, found in record["detection"].items()
    }
    same = all(len(kept[name]["logits"]) == count for name, count in counts.items())
    # A set's outputs and labels are of the same images.
    same &= all(
        value.shape[:1] == part["logits"].shape[:1]
        for part in kept.values()
        for value in part.values()
    )
    if (
        not same
        or abs(
            (kept["test"]["logits"].argmax(1) == kept["test"]["labels"]).mean()
            - judged["t1"]["accuracy"]
        )
        >= 1e-9
    ):
        raise ValueError(f"{path} is not what its record was made of: make the run again")
    return kept


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """A run's training, an entry an epoch.

    Raises ValueError, naming the file, for one that is missing or damaged.
    """
    path = folder / EPOCHS
    try:
        with open_regular(path) as file:
            return [json.loads(line) for line in file.read().decode().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is missing or damaged ({error})") from error


def read_json(path: Path) -> Any:
    """Raises ValueError, naming the file, for one that is cut short or damaged, and OSError for one
    that cannot be read.

    A name that is given twice, NaN and Infinity count as damage, since `write_json` writes none.
    """
    with open_regular(path) as file:
        written = file.read()
    try:
        return json.loads(written.decode(), object_pairs_hook=_each_once, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is cut short or damaged ({error}): delete its folder, and run the same "
            "command again"
        ) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"it has {constant} in place of a number")


def read_record(path: Path) -> dict[str, Any]:
    """A run's metrics.json.

    Raises ValueError, naming the file, for one that is damaged or of another format.
    """
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ValueError(
            f"{path} is of format {found}, this version reads format {FORMAT}: run it again into "
            "another folder"
        )
    try:
        contents.check(record)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged inside ({error}): run it again into another folder"
        ) from error
    return record


def refuse_another(folder: Path, held: dict[str, Any]) -> dict[str, Any]:
    """A run's record as it is now. Raises ValueError if it is not that of the run whose record was
    read before.

    Only what detect.py adds to a record may differ.
    """
    path = folder / METRICS
    now = read_record(path) if path.exists() else {}
    first, second = (
        {name: value for name, value in each.items() if name != "detectors"} for each in (held, now)
    )
    if first != second:
        raise ValueError(
            f"{folder} was deleted or made again meanwhile: nothing is written; run the same "
            "command again"
        )
    return now


def find_records(root: Path) -> tuple[dict[Path, dict[str, Any]], list[str], list[str]]:
    """All records below a folder, by their own folders, in a fixed order.

    Then a line for each file that is damaged or repeats a run, and a line for each file or folder
    that this user may not read.
    """
    paths, unreadable = named_below(root, METRICS)
    records, problems, locked = (
        {},
        [],
        [f"{folder} cannot be read (Permission denied)" for folder in unreadable],
    )
    for path in paths:
        try:
            record = read_record(path)
        except PermissionError as error:
            locked.append(f"{path} cannot be read ({error.strerror})")
            continue
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        run = json.dumps(identity_of(record["config"]), sort_keys=True)
        if run in records:
            problems.append(f"{path} is the same run as {records[run][0]}")
        records.setdefault(run, (path, record))
    return {path.parent: record for path, record in records.values()}, problems, locked


def run_folders(roots: Sequence[Path]) -> list[Path]:
    """The folders of all finished runs in or below these folders, in order, each once.

    Raises ValueError for a folder without any, or with one that this user may not read.
    """
    found = {}
    if not roots:
        raise ValueError(
            "no runs given: name their folders, or one above them, such as runs/digits"
        )
    for root in roots:
        paths, unreadable = named_below(root, METRICS)
        if unreadable:
            raise ValueError(
                f"{unreadable[0]} cannot be read (Permission denied): make it readable, or name "
                "other folders"
            )
        if not paths:
            raise ValueError(
                f"no finished run in or below {root}: make one with python main.py, or name "
                "another folder"
            )
        for path in paths:
            found.setdefault(path.parent.resolve(), path.parent)
    return list(found.values())


def begun(folder: Path) -> dict[str, Any]:
    """The configuration that a run's folder was claimed with; {} if it was not.

    Raises ValueError if it cannot be read.
    """
    if not (folder / CONFIG).exists():
        return {}
    held = read_json(folder / CONFIG)
    if not isinstance(held, dict):
        raise ValueError(
            f"{folder / CONFIG} is no configuration: delete its folder, or choose another with "
            "--runs"
        )
    return held


def differences(held: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """What makes the run of a configuration `held` another one than that of an identity; empty if
    it is the same run.
    """
    try:
        known = identity_of(held)
        names = [
            name
            for name, value in identity.items()
            if name != "versions" and known.get(name) != value
        ]
        if names:
            return [f"{name} {known.get(name)!r} there, {identity[name]!r} here" for name in names]
        return (
            list(versions.outdated(held).values())
            if known["versions"] != identity["versions"]
            else []
        )
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        return [f"its configuration is damaged ({type(error).__name__}: {error})"]


def finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds this run's results.

    Raises ValueError if it holds another run (one whose `config.json` has another identity), or
    files that cannot be read.
    """
    if not (folder / CONFIG).exists():
        if any((folder / name).exists() for name in (METRICS, LAST, PREVIOUS)):
            raise ValueError(
                f"{folder} holds results without their {CONFIG}: choose another folder with "
                "--runs, or delete it"
            )
        return False
    held = begun(folder)
    if differing := differences(held, identity):
        raise ValueError(
            f"{folder} holds another run ({'; '.join(differing)}): choose another folder with "
            "--runs, or delete it"
        )
    return (folder / METRICS).exists() and bool(read_record(folder / METRICS))


def claim(folder: Path, config: dict[str, Any]) -> None:
    """Make the folder, which is held, this run's own by its configuration."""
    if not (folder / CONFIG).exists():
        write_json(folder / CONFIG, config)


def sweep(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder that is held."""
    for name in (CONFIG, EPOCHS, LAST, METRICS, PREDICTIONS, MODEL):
        for left in folder.glob(f".{name}.*"):
            left.unlink(missing_ok=True)


def drop_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    for name in (LAST, PREVIOUS):
        (folder / name).unlink(missing_ok=True)
