"""Finds out whether the images of a run, or the weights it began with, have changed since."""

import os
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from data import fingerprint, sources
from data.lists import LIST

from .config import RunConfig
from .data import Data, load_data
from .network import build_network
from .records import METRICS, read_record


def changed_sets(record: Mapping[str, Any], data: Data) -> list[str]:
    """Return the sets whose images or labels differ from those of a run's record."""
    recorded = record.get("fingerprints", {})  # earlier versions wrote none
    sets = {"train": data.train, **data.evaluation_sets}
    return [
        name
        for name, images in sets.items()
        if name in recorded and recorded[name] != fingerprint.of(images)
    ]


def refuse_changes(config: RunConfig) -> None:
    """Raises ValueError if images or weights in the user's own files differ from those of a
    finished run.

    They are read only if a file or folder is newer than the run, or if image lists are read from
    another data directory. An image that an image list names does not count as such a file.
    """
    record = read_record(config.folder / METRICS)
    own = {source for _, source in sources.ood_sets(config.data, config.ood, config.recipe)}
    own = {source for source in own if Path(source).exists()}
    if Path(config.data).exists():
        own.add(config.data)
    began = datetime.fromisoformat(record["started"]).timestamp()
    _refuse_changed_weights(config, record, began)
    # Image lists name files in the data directory.
    elsewhere = record["config"]["data_dir"] != str(config.data_dir)
    compare = any(_changed_after(began, Path(path)) for path in own) or (
        elsewhere and any(_has_lists(Path(path)) for path in own)
    )
    if not record.get("fingerprints") or not compare:
        return
    try:
        data = load_data(config)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{config.folder} is finished, but its images cannot be compared: {error}"
        ) from error
    if changed := changed_sets(record, data):
        raise ValueError(
            f"{config.folder} is finished, but the images or labels of {', '.join(changed)} have "
            "changed since, or another Pillow decodes them: delete this folder to train again, or "
            "choose another one with --runs"
        )


def _refuse_changed_weights(config: RunConfig, record: Mapping[str, Any], began: float) -> None:
    """Raises ValueError if --weights names a file whose weights are not those of a finished run.

    The file is read only if it is newer than the run.
    """
    recorded, path = record.get("fingerprints", {}).get("--weights"), Path(str(config.weights))
    if not (recorded and path.is_file() and _changed_after(began, path)):
        return
    with torch.random.fork_rng(devices=[]):
        network = build_network(config, 2, torch.device("cpu"))  # the body has no classes
    if network.began_with != recorded:
        raise ValueError(
            f"{config.folder} is finished, but the weights in {path} have changed since: delete "
            "this folder to train again, or choose another one with --runs"
        )


def _has_lists(path: Path) -> bool:
    """Return whether a source is an image list, or a folder with some."""
    files = [path] if path.is_file() else path.iterdir()
    return any(file.suffix.lower() == LIST for file in files)


def _changed_after(moment: float, path: Path) -> bool:
    """Return whether a file, or a file or folder in a folder, was made or changed since."""
    return any(max(found.st_mtime, found.st_ctime) > moment for found in _stats(path))


def _stats(path: Path) -> Iterator[os.stat_result]:
    """Yield what the system says of a path and of all in it, and of links themselves."""
    yield path.stat()
    yield path.lstat()
    seen = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        here = os.stat(folder)
        if (here.st_dev, here.st_ino) in seen:  # a link may lead back to a folder above it
            folders.clear()
            continue
        seen.add((here.st_dev, here.st_ino))
        for name in (*folders, *names):
            inside = os.path.join(folder, name)
            yield (found := os.lstat(inside))
            if stat.S_ISLNK(found.st_mode) and os.path.exists(inside):
                yield os.stat(inside)
