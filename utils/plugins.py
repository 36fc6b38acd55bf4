"""Loads a user's own Python files, which add rows to the tables of losses, networks and so on."""

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The tables that a plugin may add rows to, as (module, name). Modules that a program does not
# import are not looked at.
TABLES = (
    ("losses", "LOSSES"),
    ("models", "FAMILIES"),
    ("detectors", "DETECTORS"),
    ("data.catalog", "CATALOG"),
    ("utils.metrics", "DETECTION"),
    ("losses.scores", "SCORES"),
)
# Each plugin that this process has loaded → the SHA-256 of its file.
LOADED: dict[str, str] = {}


@dataclass(frozen=True, kw_only=True)
class WithPlugins:
    """The options of a program that loads plugins."""

    plugin: tuple[Path, ...] = ()
    """Python files of yours that add a loss, a network, a detector, a data set, a metric or a
    column: see docs/plugins.md."""


def load(paths: Iterable[Path]) -> None:
    """Run these files, each once in a process.

    Raises ValueError, naming the file, if it is missing, fails, or replaces a row of a table.
    """
    for path in paths:
        _load(path.resolve())


def of(function: Callable[..., Any]) -> dict[str, str]:
    """Return the path and the SHA-256 of the plugin that defines a function; {} if none does."""
    module = sys.modules.get(getattr(function, "__module__", ""))
    path = str(getattr(module, "__file__", ""))
    return {path: LOADED[path]} if path in LOADED else {}


def _load(path: Path) -> None:
    name = f"plugin_{path.stem}"
    module = sys.modules.get(name)
    if module is not None and module.__file__ == str(path):
        return
    if module is not None:
        raise ValueError(f"--plugin {path} has the name of {module.__file__}: rename one of them")
    if not path.is_file() or path.suffix != ".py":
        raise ValueError(
            f"--plugin {path} is no Python file (.py): write folders and others before --plugin"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    before = {place: dict(table) for place, table in _tables()}
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # so for every .py file
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and not lines:
            lines = [error.lineno]
        reason = " ".join(str(error).split())
        raise ValueError(
            f"--plugin {path} failed in line {lines[-1]} ({type(error).__name__}: {reason})"
        ) from error
    for place, table in _tables():
        replaced = [key for key, row in before.get(place, {}).items() if table.get(key) is not row]
        if replaced:
            raise ValueError(
                f"--plugin {path} replaces {', '.join(replaced)} of {place}: choose another name"
            )
    LOADED[str(path)] = digest


def _tables() -> list[tuple[str, dict[str, Any]]]:
    """Return the name and the rows of each table that is loaded."""
    return [
        (f"{module}.{name}", getattr(sys.modules[module], name))
        for module, name in TABLES
        if hasattr(sys.modules.get(module), name)
    ]
