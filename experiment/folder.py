"""A run's folder: whose it is, whether the run is finished, and what killed processes left."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils import versions
from utils.distributed import World
from utils.output import print_error, print_line

from . import schema
from .changes import refuse_changes
from .config import RunConfig, identity_of
from .lock import Locked, locked
from .records import (
    CONFIG,
    EPOCHS,
    LAST,
    METRICS,
    MODEL,
    PREDICTIONS,
    PREVIOUS,
    read_json,
    read_record,
    write_json,
)

PATIENCE = 10  # seconds to wait for the lock: a killed process may hold it a little longer


def begun_config(folder: Path) -> dict[str, Any]:
    """The configuration (as JSON) of the run that has begun in a folder; {} if none has.

    Raises ValueError, naming the file, if it is damaged.
    """
    path = folder / CONFIG
    if not path.exists():
        return {}
    config = read_json(path)
    try:
        schema.check_config(config)
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged inside ({error}): delete it, or take another folder for the run"
        ) from error
    return config


def with_begun_precision(config: RunConfig) -> RunConfig:
    """The configuration. `auto` becomes the precision that the run began with, if it has begun.

    Raises ValueError if the folder's configuration is damaged.
    """
    if config.precision != "auto":
        return config
    return replace(config, precision=begun_config(config.folder).get("precision", "auto"))


def differences(config: Any, identity: dict[str, Any]) -> list[str]:
    """How the run of a configuration (as JSON) differs from an identity; [] if it does not."""
    try:
        other = identity_of(config)
        names = [name for name, value in identity.items() if other.get(name) != value]
        fields = [name for name in names if name != "versions"]
        if fields:
            return [f"{name} {other.get(name)!r} there, {identity[name]!r} here" for name in fields]
        return list(versions.outdated(config).values()) if names else []
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        return [f"its configuration is damaged ({type(error).__name__}: {error})"]


def is_finished(folder: Path, identity: dict[str, Any]) -> bool:
    """Whether the folder holds the results of the run with this identity.

    Raises ValueError if it holds another run, or files that cannot be read.
    """
    if not (folder / CONFIG).exists():
        if any((folder / name).exists() for name in (METRICS, LAST, PREVIOUS)):
            raise ValueError(
                f"{folder} holds results without their {CONFIG}: choose another folder with "
                "--runs, or delete it"
            )
        return False
    if reasons := differences(begun_config(folder), identity):
        raise ValueError(
            f"{folder} holds another run ({'; '.join(reasons)}): choose another folder with "
            "--runs, or delete it"
        )
    return (folder / METRICS).exists() and bool(read_record(folder / METRICS))


def lock_folder(
    config: RunConfig, auto_precision: bool, world: World, stack: ExitStack
) -> int | None:
    """Collective: lock the run's folder until the stack closes, and make it this run's.

    Args:
        config: the run's configuration.
        auto_precision: whether this process chose the precision (`--precision auto`).
        world: the processes of the run. The first one holds the lock.
        stack: releases the lock when it closes.

    Returns:
        None if the run is to be made, else the exit status: 0 if it is finished, 2 if the folder
        cannot be used, 3 if another process makes this run.
    """
    status = -1
    if world.first:
        try:
            stack.enter_context(locked(config.folder, wait=PATIENCE))
            if auto_precision:
                _refuse_other_precision(config)
            if not prepare(config.folder, config.as_json()):
                status = skip(config)
        except (ValueError, OSError) as error:
            status = print_error(error, getattr(error, "exit_status", 2))
    status = world.all_max(status)
    return None if status < 0 else status


def prepare(folder: Path, config: dict[str, Any]) -> bool:
    """Prepare a locked folder for the run of a configuration (as JSON).

    Returns False if the run is finished. Raises ValueError if the folder holds another run.
    """
    if is_finished(folder, identity_of(config)):
        return False
    delete_temporary_files(folder)
    if not (folder / CONFIG).exists():
        write_json(folder / CONFIG, config)
    return True


def skip(config: RunConfig) -> int:
    """Say that a run is finished. Returns the exit status.

    Raises ValueError if its images have changed since.
    """
    refuse_changes(config)
    delete_checkpoints(config.folder)  # a process that was killed at its very end left them
    print_line(f"{config.folder} is finished: skipped")
    return 0


def _refuse_other_precision(config: RunConfig) -> None:
    """Raises Locked if a process has begun this run in another precision.

    `--precision auto` takes seconds to choose, and two processes may choose differently.
    """
    begun = with_begun_precision(replace(config, precision="auto")).precision
    if begun not in ("auto", config.precision):
        raise Locked(
            f"another process has begun {config.folder} meanwhile, in {begun}: run the same "
            "command again"
        )


def delete_temporary_files(folder: Path) -> None:
    """Delete what killed processes left half-written in a folder that is locked."""
    for name in (CONFIG, EPOCHS, LAST, METRICS, PREDICTIONS, MODEL):
        for path in folder.glob(f".{name}.*"):
            path.unlink(missing_ok=True)


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    for name in (LAST, PREVIOUS):
        if (folder / name).exists():  # on a read-only disk, deleting what is missing is an error
            (folder / name).unlink(missing_ok=True)  # another process may have been faster
