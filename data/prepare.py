"""Downloads and checks data sets: `python -m data.prepare [NAME ...]`, or prepare-cifar.sh.

A data set that is complete is not downloaded again. A download that was cut goes on where it
stopped. If a data set fails, the others are still downloaded.
"""

from utils import interruption

if __name__ == "__main__":
    interruption.begin("what has arrived is kept; run the same command again to continue")

import sys
from collections.abc import Sequence
from pathlib import Path

from utils import program
from utils.output import print_error, print_line

from .catalog import CATALOG

ROOT = Path("data/downloads")
DOWNLOADS = {name: entry.download for name, entry in CATALOG.items() if entry.download}
DEFAULT = ["cifar10", "cifar100", "svhn", "tinyimagenet_resize", "lsun_resize", "fashionmnist"]


def main(names: Sequence[str]) -> int:
    """Download the named data sets, or the default ones.

    Returns the exit status: 0 all are there, 1 a data set failed, 2 unknown name, 75 interrupted.
    """
    return program.exit_status(
        lambda: prepare(names or DEFAULT),
        "what has arrived is kept; run the same command again to continue",
    )


def prepare(names: Sequence[str]) -> int:
    """Download the named data sets. Returns the exit status, as `main`, unless interrupted."""
    unknown = [name for name in names if name not in DOWNLOADS]
    if unknown:
        return print_error(f"unknown data set {unknown[0]!r}: choose from {', '.join(DOWNLOADS)}")
    failed = [name for name in names if not download(name)]
    if not failed:
        return 0
    print_error(
        f"{len(failed)} of {len(names)} failed; try again: bash prepare-cifar.sh {' '.join(failed)}"
    )
    entries = [CATALOG[name] for name in failed]
    folders = [f"{entry.archive_folder}/" for entry in entries if entry.archive_folder]
    if folders:
        print_line(
            f"or get the images in another way and put them into {ROOT}: {', '.join(folders)}",
            sys.stderr,
        )
    return 1


def download(name: str) -> bool:
    """Download a data set, and print whether that succeeded. Returns whether it did."""
    title = CATALOG[name].title
    try:
        DOWNLOADS[name](ROOT)
    except (ValueError, RuntimeError, OSError) as error:
        print_line(f"{title}: failed: {' '.join(str(error).split())}", sys.stderr)
        return False
    print_line(f"{title}: ready in {ROOT}")
    return True


if __name__ == "__main__":
    interruption.listen()
    sys.exit(main(sys.argv[1:]))
