"""The only reader and writer of result files. Every file is written whole or not at all."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import versions
from .config import identity_of

FORMAT = 1  # of metrics.json; a reader refuses what it does not know
NEEDED = {"config", "titles", "score", "scores_at", "classification", "detection"}  # what tables are made of

CONFIG, EPOCHS, LAST, PREVIOUS = "config.json", "epochs.jsonl", "last.pt", "previous.pt"
METRICS, PREDICTIONS, MODEL = "metrics.json", "predictions.npz", "model.pt"


@contextmanager
def whole_file(path: Path, previous: Path | None = None) -> Iterator[Path]:
    """A temporary path in the file's folder that becomes the file if the block ends well, and goes if it does not.

    What was there before is kept as `previous`, where given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except OSError as error:
        named = str(path) if error.filename in (None, name) else error.filename  # a full disk names none
        raise OSError(error.errno, error.strerror, named) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Indented JSON. Raises ValueError for NaN and infinities, which JSON does not have."""
    text = json.dumps(value, indent=1, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text)


def write_lines(path: Path, values: list[Any]) -> None:
    """One JSON value a line."""
    with whole_file(path) as temporary:
        temporary.write_text("".join(json.dumps(value) + "\n" for value in values))


def write_predictions(
    folder: Path, outputs: Mapping[str, Mapping[str, ArrayLike]], labels: Mapping[str, ArrayLike], with_features: bool
) -> None:
    """Keep each set's named outputs as `SET/OUTPUT`, with `SET/features` only where asked, and labels as `SET/labels`."""
    arrays = {f"{name}/labels": np.asarray(values) for name, values in labels.items()}
    for name, part in outputs.items():
        arrays |= {f"{name}/{key}": np.asarray(value) for key, value in part.items() if key != "features" or with_features}
    with whole_file(folder / PREDICTIONS) as path, open(path, "wb") as file:
        np.savez_compressed(file, **arrays)


def read_predictions(folder: Path) -> dict[str, dict[str, NDArray]]:
    """Set → output → array, `labels` among them. Raises ValueError, naming the file, for one that is missing or damaged."""
    path, found = folder / PREDICTIONS, {}
    try:
        with np.load(path) as arrays:
            for key in arrays:
                name, _, output = key.rpartition("/")
                found.setdefault(name, {})[output] = arrays[key]
    except Exception as error:  # NumPy lets through what it meets in damaged bytes, a SyntaxError among it
        raise ValueError(f"{path} is missing or damaged ({error}): delete its folder, and make the run again") from error
    for name, part in found.items():
        logits = part.get("logits", np.zeros(0))
        if logits.ndim != 2 or logits.dtype.kind != "f" or not len(logits) or not np.isfinite(logits).all():
            raise ValueError(f"{path}: the logits of {name} are no finite numbers [N, C]: make the run again")
    return found


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """A run's training, an entry an epoch. Raises ValueError, naming the file, for one that is missing or damaged."""
    path = folder / EPOCHS
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or damaged ({error})") from error


def read_json(path: Path) -> Any:
    """Raises ValueError, naming the file, for one that is cut short or damaged."""
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is cut short or damaged ({error}): delete its folder, and run the same command again") from error


def read_record(path: Path) -> dict[str, Any]:
    """A run's metrics.json. Raises ValueError, naming the file, for one that is damaged or of another format."""
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"{path} is of format {found}, this version reads format {FORMAT}: run it again into another folder")
    if missing := NEEDED - record.keys():
        raise ValueError(f"{path} lacks {', '.join(sorted(missing))}: run it again into another folder")
    return record


def _metrics_below(root: Path) -> list[Path]:
    found = []
    # Path.rglob does not go into folders that are links, such as one to a disk with more room.
    for folder, inside, names in os.walk(root, followlinks=True):
        here = Path(folder).resolve()
        inside[:] = [name for name in inside if not here.is_relative_to((here / name).resolve())]  # a loop
        found += [Path(folder) / METRICS] if METRICS in names else []
    return sorted(found)


def find_records(root: Path, use: Callable[[dict[str, Any]], Any] = lambda _: None) -> tuple[dict[Path, dict[str, Any]], list[str]]:
    """All records below a folder by theirs, in a fixed order, and a line for each file that cannot be read or repeats a run.

    `use` is tried on each: one on which it raises counts as damaged.
    """
    records, problems = {}, []
    for path in _metrics_below(root):
        try:
            record = read_record(path)
            use(record)
        except (ValueError, OSError) as error:
            problems.append(str(error))
            continue
        except (LookupError, TypeError, AttributeError, OverflowError) as error:
            problems.append(f"{path} is damaged inside ({type(error).__name__}: {error})")
            continue
        run = json.dumps(identity_of(record["config"]), sort_keys=True)
        if run in records:
            problems.append(f"{path} is the same run as {records[run][0]}")
        records.setdefault(run, (path, record))
    return {path.parent: record for path, record in records.values()}, problems


def run_folders(roots: Sequence[Path]) -> list[Path]:
    """The folders of all finished runs in or below these folders, in order. Raises ValueError for one without any."""
    found = []
    if not roots:
        raise ValueError("no runs given: name their folders, or one above them, such as runs/digits")
    for root in roots:
        below = [path.parent for path in _metrics_below(root)]
        if not below:
            raise ValueError(f"no finished run in or below {root}: make one with python main.py, or name another folder")
        found += below
    return list(dict.fromkeys(found))


def begun(folder: Path) -> dict[str, Any]:
    """The configuration that a run's folder was claimed with; {} if it was not. Raises ValueError if it cannot be read."""
    if not (folder / CONFIG).exists():
        return {}
    held = read_json(folder / CONFIG)
    if not isinstance(held, dict):
        raise ValueError(f"{folder / CONFIG} is no configuration: delete its folder, or choose another with --runs")
    return held


def differences(held: dict[str, Any], identity: dict[str, Any]) -> list[str]:
    """What makes the run of a configuration `held` another one than that of an identity; empty if it is the same run."""
    try:
        known = identity_of(held)
        names = [name for name, value in identity.items() if name != "versions" and known.get(name) != value]
        if names:
            return [f"{name} {known.get(name)!r} there, {identity[name]!r} here" for name in names]
        return list(versions.outdated(held).values()) if known["versions"] != identity["versions"] else []
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        return [f"its configuration is damaged ({type(error).__name__}: {error})"]


def finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds this run's results.

    Raises ValueError if it holds another run (one whose `config.json` has another identity), or files that cannot be read.
    """
    if not (folder / CONFIG).exists():
        if any((folder / name).exists() for name in (METRICS, LAST, PREVIOUS)):
            raise ValueError(f"{folder} holds results without their {CONFIG}: choose another folder with --runs, or delete it")
        return False
    held = begun(folder)
    if differing := differences(held, identity):
        raise ValueError(f"{folder} holds another run ({'; '.join(differing)}): choose another folder with --runs, or delete it")
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
