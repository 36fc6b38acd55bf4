"""The networks that the package brings along, by name."""

from pathlib import Path

FOLDER = Path(__file__).parent / "networks"
SUFFIX = ".pt"


def names() -> list[str]:
    """Return the names of the networks."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def resolve(path: str | Path) -> Path:
    """Return a network's file for its name, and any other path as it is.

    A file or folder of that name comes first.
    """
    if str(path) in names() and not Path(path).exists():
        return FOLDER / f"{path}{SUFFIX}"
    return Path(path)
