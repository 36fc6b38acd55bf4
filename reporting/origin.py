"""Where a report comes from: when, with what command and code, and out of which runs."""

import platform
import shlex
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from utils.output import visible
from utils.runtime import commit

from .runs import Runs

UNKNOWN = "unknown"
SHOWN = 12  # characters of a commit


def origin(runs: Runs) -> dict[str, str]:
    """Return what the head of a report says, by its label.

    Args:
        runs: the records by folder. What an older record does not have counts as unknown.
    """
    program, *arguments = sys.argv
    versions = {
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "NumPy": np.__version__,
        "Matplotlib": mpl.__version__,
    }
    return {
        "Written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "Command": visible(shlex.join(["python", Path(program).name, *arguments])),
        "Code of this page": _short(commit()),
        "With": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "Runs": f"{len(runs)}, {_begun(runs)}",
        "Code of the runs": _counted(runs, "commit", short=True),
        "PyTorch of the runs": _counted(runs, "torch"),
        "Processor of the runs": _counted(runs, "processor"),
    }


def _short(commit_id: object) -> str:
    """Return a commit's first characters, with the sign that files have changed since."""
    if not isinstance(commit_id, str):
        return UNKNOWN
    changed = ", with changes" if commit_id.endswith("+") else ""
    return f"commit {commit_id.removesuffix('+')[:SHOWN]}{changed}"


def _begun(runs: Runs) -> str:
    """Return the days on which the runs began."""
    days = sorted({str(record.get("started", UNKNOWN))[:10] for record in runs.values()})
    return visible(f"begun {days[0]}" if len(days) == 1 else f"begun {days[0]} to {days[-1]}")


def _counted(runs: Runs, name: str, short: bool = False) -> str:
    """Return the values of the records' environment, each with its number of runs."""
    environments = [record.get("environment") for record in runs.values()]
    values = [found.get(name) if isinstance(found, dict) else None for found in environments]
    texts = [_short(value) if short else str(value or UNKNOWN) for value in values]
    counts = Counter(texts).most_common()
    if len(counts) == 1:
        return visible(counts[0][0])
    return visible("; ".join(f"{text} ({count} runs)" for text, count in counts))
