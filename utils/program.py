"""What all programs share: the command line, made from a dataclass, and the exit status."""

import inspect
import io
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import MISSING, is_dataclass
from functools import partial
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from . import habits, interruption, plugins
from .output import print_error, print_line, tolerate
from .torchrun import rank

T = TypeVar("T")
# torch has no error class for these. Their messages contain one of these texts.
MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
PEERS = ("Connection closed by peer", "Connection reset by peer", "gloo")


class Failure(RuntimeError):
    """The work failed. The message tells the user, in one line, what happened and what to do."""


def out_of_memory(error: BaseException) -> bool:
    """Whether the error means that the processor or a GPU has no memory left."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in MEMORY)


def lost_a_process(error: BaseException) -> bool:
    """Whether one of torchrun's processes has ended or cannot be reached."""
    # By its name, because this file does not import torch. NCCL's errors are of this class.
    if any(kind.__name__ == "DistError" for kind in type(error).__mro__):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in PEERS)


def explain(error: BaseException) -> str | None:
    """What happened and what to do, in one line; None if the error is a fault of the code."""
    message = " ".join(str(error).split())
    # The message of a ValueError or OSError may quote a path with these words.
    if out_of_memory(error) and not isinstance(error, (ValueError, OSError)):
        reason = message[:120] or "for an array"
        return (
            f"out of memory ({reason}): end other programs, or take a smaller batch, network or "
            "data set"
        )
    if isinstance(error, (Failure, ValueError, OSError)):
        return message
    # torch has no error class for this.
    if isinstance(error, RuntimeError) and message.startswith("DataLoader worker"):
        return f"{message}: a process that decodes images was killed (out of memory?): try again"
    if lost_a_process(error):
        return f"another process of this run has ended, or cannot be reached ({message[:300]})"
    return None


def exit_status(work: Callable[[], int | None], interrupted: str) -> int:
    """Do a program's work. If an error ends it, print one line.

    An error's notes (`add_note`) say what is kept of the work. The line ends with them.

    Args:
        work: raises ValueError or OSError for bad input. May return another status.
        interrupted: what an interruption leaves behind, if its error has no notes.

    Returns:
        the exit status: 0 done, 1 failed, 2 bad input, 75 interrupted. An error chooses another
        with an attribute `exit_status`. A fault of the code is raised.
    """
    try:
        return work() or 0
    except (KeyboardInterrupt, ValueError, OSError, RuntimeError, MemoryError) as error:
        notes = getattr(error, "__notes__", [])
        # Ctrl-C reaches all processes of a run, and another one may end first.
        lost_by_interruption = interruption.asked() and lost_a_process(error)
        if isinstance(error, KeyboardInterrupt) or lost_by_interruption:
            if rank() > 0:  # the first process speaks for all
                return interruption.STATUS
            return interruption.leave("; ".join(notes) or interrupted)
        message = explain(error)
        if message is None:
            raise
        bad_input = isinstance(error, (ValueError, OSError)) and not notes
        status = getattr(error, "exit_status", 2 if bad_input else 1)
        return print_error("; ".join([message, *notes]), status)


def read(
    kind: Callable[..., T],
    program: str,
    arguments: Sequence[str] | None = None,
    description: str | None = None,
) -> T:
    """Read a command line.

    Args:
        kind: a dataclass, whose docstrings are the help; or a function.
        program: the program's name in the help.
        arguments: `sys.argv` by default.
        description: the help's first lines, by default the docstring of `kind`.

    Returns an instance of the dataclass, or what the function returns.
    Raises ValueError, in one line, for wrong arguments; SystemExit after --help and --version.
    """
    tolerate()
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--version" in arguments:
        print_line(f"dismax {version()}")
        sys.exit(0)
    _refuse_empty(arguments)
    _refuse_lists_without_values(kind, arguments)
    _clear_help(kind)
    parse = partial(tyro.cli, kind, prog=program, description=description or kind.__doc__)
    output = io.StringIO()
    try:
        # For an output that is no terminal, tyro writes plain text.
        with redirect_stdout(output), redirect_stderr(output):
            options = parse(args=arguments)
    except SystemExit as stop:
        if not stop.code:
            parse(args=["--help"])  # prints it, and raises SystemExit
    else:
        if isinstance(options, plugins.WithPlugins):
            plugins.load(options.plugin)
        return options
    if not arguments:
        with suppress(SystemExit):
            parse(args=["--help"])
        raise ValueError(f"{program} needs arguments: its help is above")
    if answer := habits.answer(arguments, inspect.signature(kind).parameters):
        raise ValueError(answer)
    message = _in_one_line(output.getvalue()) + _suggestion(kind, arguments)
    raise ValueError(f"{message} (python {program} --help lists the options)")


def _in_one_line(text: str) -> str:
    """tyro's message, without its title. The first paragraph says what is wrong."""
    lines = [line.strip() for line in text.strip().splitlines()]
    first = takewhile(lambda line: line and not line.startswith("---"), lines[2:])
    return " ".join(first) or " ".join(lines)


def _suggestion(kind: Callable[..., object], arguments: Sequence[str]) -> str:
    """The options that are similar to unknown ones on a command line, as the end of a message."""
    words = []
    for argument in arguments:  # tyro finds nothing that is similar to --name=value
        words += argument.split("=", 1) if argument.startswith("--") else [argument]
    output = io.StringIO()
    with redirect_stdout(output), redirect_stderr(output), suppress(SystemExit):
        tyro.cli(kind, args=words)
    # In tyro's message, an option's line begins with six spaces, and its help with more.
    options = sorted(re.findall(r"^ {6}(--[\w-]+)", output.getvalue(), re.M))
    if not options or "Unrecognized options" not in output.getvalue():
        return ""
    return f": perhaps you meant {' or '.join(options)}"


def _clear_help(kind: Any) -> None:
    """Leave empty defaults (None, False, ()) and the value None out of the help of a dataclass, and
    call its lists without a default required.

    The docstrings say what happens without an option. The annotations of the class are changed.
    """
    for cls in inspect.getmro(kind) if is_dataclass(kind) else ():
        own = cls.__annotations__ if is_dataclass(cls) else {}
        for name, annotation in [*own.items()]:
            is_annotated = get_origin(annotation) is Annotated
            plain, *extras = get_args(annotation) if is_annotated else (annotation,)
            if any(getattr(extra, "help_behavior_hint", None) is not None for extra in extras):
                continue  # an earlier call has changed it
            given = getattr(cls, name, MISSING)
            if given is MISSING and get_origin(plain) is tuple:
                own[name] = Annotated[annotation, tyro.conf.arg(help_behavior_hint="(required)")]
            elif given is None or given is False or given == ():
                metavar = _values(plain) if given is None else None
                hint = tyro.conf.arg(help_behavior_hint="", metavar=metavar)
                own[name] = Annotated[annotation, hint]


def _values(annotation: Any) -> str:
    """Return what a value may be besides None, as tyro writes it: FLOAT|{chosen}."""
    return "|".join(
        f"{{{','.join(get_args(kind))}}}" if get_origin(kind) is Literal else kind.__name__.upper()
        for kind in get_args(annotation)
        if kind is not type(None)
    )


def version() -> str:
    """The version of the package `dismax`. Importing the package would load PyTorch."""
    text = (Path(__file__).parent.parent / "dismax" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.*)"$', text, re.M)
    assert found, "hatchling reads the same line"
    return found[1]


def _refuse_empty(arguments: Sequence[str]) -> None:
    """Raises ValueError for an empty argument: as a path it would mean the current folder."""
    for before, argument in pairwise(("", *arguments)):
        if before == "--device":  # its own check refuses an empty one
            continue
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            option = (argument or before).rstrip("=")
            subject = option if option.startswith("--") else "an argument"
            raise ValueError(
                f"{subject} has no value: is a variable of the shell empty? (leave it out, or "
                "give it one)"
            )


def _refuse_lists_without_values(kind: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Raises ValueError for an option that takes any number of values and has none.

    An empty list would mean the default, which is not what somebody wants who writes the option.
    """
    if not is_dataclass(kind):
        return
    hints = get_type_hints(kind)
    lists = {f"--{name.replace('_', '-')}" for name in hints if ... in get_args(hints[name])}
    for option, value in pairwise((*arguments, "--")):
        if option.replace("_", "-") in lists and value.startswith("--"):
            raise ValueError(f"{option} has no value: write one after it, or leave it out")
