"""Reads a file of main.py's options (`--config`): YAML or JSON, such as a run's config.json."""

import json
from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

import yaml

from utils import versions
from utils.files import open_regular

from . import schema
from .config import RunConfig
from .records import CONFIG, unique

SUFFIXES = (".json", ".yaml", ".yml")
SHORT = {"lr": "learning_rate"}  # other names of options, as on the command line
VERSIONS = "versions"  # what a run's config.json has beside its options


def read(path: Path) -> dict[str, Any]:
    """The options in a file, by their names in `RunConfig`, and `versions` if a run wrote it.

    Raises ValueError, naming the file, if it cannot be read, or has a name that is no option.
    """
    if path.is_dir():
        raise ValueError(f"--config {path} is a folder: name a file, such as {path / CONFIG}")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--config takes a file that ends in {', '.join(SUFFIXES)}, got {path}")
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise ValueError(f"--config {path} cannot be read ({error.strerror})") from error
    values = {}
    for name, value in _content(path, content).items():
        name = _known(path, name)
        if name in values:
            raise ValueError(f"--config {path} has {name} twice: delete one of them")
        values[name] = value
    return values


def words(path: Path, values: Mapping[str, Any]) -> list[str]:
    """The options of a file as a command line. null and an empty list leave an option out.

    Raises ValueError for a value that cannot stand on a command line.
    """
    kinds = get_type_hints(RunConfig)
    command_line: list[str] = []
    for name, value in values.items():
        if name == VERSIONS or value in (None, []):
            continue
        option = f"--{name.replace('_', '-')}"
        several = value if isinstance(value, list) else [value]
        hidden = [each for each in several if isinstance(value, list) and str(each)[:1] == "-"]
        if hidden:
            raise ValueError(f"--config {path}: {name} has {hidden[0]!r}, which is no value")
        if not all(isinstance(each, (str, int, float)) for each in several):
            raise ValueError(
                f"--config {path}: {name} is a text, a number, true, false, null, or a list of "
                f"texts and numbers, got {value!r:.80}"
            )
        # YAML reads the words on and off as true and false.
        if isinstance(value, bool) and (word := "on" if value else "off") in get_args(kinds[name]):
            value = word
        if isinstance(value, bool):
            command_line.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, list):
            command_line += [option, *map(str, value)]
        else:
            command_line.append(f"{option}={value}")
    return command_line


def changes(path: Path, values: Mapping[str, Any]) -> list[str]:
    """What this code does in another way than the code that wrote a run's config.json.

    Returns [] for a file that a user wrote. The first runs wrote no versions, which are then 1.

    Raises ValueError, naming the file, if it has versions but is not as runs write it.
    """
    try:
        # A run has chosen its precision. A user may have put auto there.
        schema.check_config({name: values[name] for name in values if name != "precision"})
    except ValueError as error:
        if VERSIONS in values:
            raise ValueError(
                f"--config {path} has versions, as runs do, but {error}: delete its versions"
            ) from error
        return []
    written_by_a_run = VERSIONS in values or path.name == CONFIG
    return list(versions.outdated(values).values()) if written_by_a_run else []


def _content(path: Path, content: bytes) -> dict[Any, Any]:
    """The names and values of a file. Raises ValueError if it is no YAML or JSON of these."""
    try:
        if path.suffix.lower() == ".json":
            found = json.loads(content, object_pairs_hook=unique)
        else:
            loader = yaml.SafeLoader(content)
            node = loader.get_single_node()
            # yaml.safe_load takes the last of two values with the same name.
            found = unique(loader.construct_pairs(node, deep=True)) if node else {}
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        reason = str(error)
        if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
            reason = f"line {error.problem_mark.line + 1}: {error.problem}"
        raise ValueError(f"--config {path} cannot be read: {reason}") from error
    if not isinstance(found, dict):
        raise ValueError(f"--config {path} holds no names with values, such as epochs: 5")
    return found


def _known(path: Path, name: Any) -> str:
    """The name of an option. Raises ValueError, with a similar name, if there is none."""
    if name == "outputs":
        raise ValueError(f"--config {path} is of outputs that evaluate.py recorded, not of main.py")
    known = [field.name for field in fields(RunConfig)] + [VERSIONS]
    given = str(name).replace("-", "_")
    given = SHORT.get(given, given)
    if given in known:
        return given
    similar = get_close_matches(given, known, 1)
    hint = f"perhaps you meant {similar[0]}" if similar else "python main.py --help lists them"
    raise ValueError(f"--config {path}: {name!r} is no option: {hint}")
