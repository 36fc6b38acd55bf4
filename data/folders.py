"""Finds the image files below a folder, and counts the files that it leaves out.

- Hidden files and folders, and those in `SYSTEM`, are skipped: systems and programs made them.
- Links to folders are followed. Each real folder is searched once.
- An image in a format that is not supported is an error.
- A pipe or a broken link with an image's name is an error. A broken link beside class folders is
  one too, and any link that leads back to itself.
- `Found.notes` says how many files were left out.
"""

import heapq
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .decoding import SUFFIXES

# Files and folders that file servers, systems and programs put beside images.
SYSTEM = frozenset(
    {
        "@eadir",
        "@tmp",
        "#recycle",
        "#snapshot",
        "@recycle",
        "@recently-snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__macosx",
        "__pycache__",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)
# The endings of image files that are not read.
FOREIGN = frozenset(
    {
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".j2k",
        ".jxl",
        ".jxr",
        ".apng",
        ".svg",
        ".psd",
        ".xcf",
        ".tga",
        ".ico",
        ".eps",
        ".exr",
        ".hdr",
        ".pfm",
        ".dcm",
        ".raw",
        ".dng",
        ".cr2",
        ".cr3",
        ".nef",
        ".arw",
        ".orf",
        ".rw2",
        ".raf",
        ".dds",
        ".pcx",
        ".qoi",
    }
)
SOME = 5  # names that a message lists


@dataclass(frozen=True)
class Found:
    """The images that were found below a folder."""

    # (path, the class folder: the first folder below on the way to it, or ""); sorted.
    images: list[tuple[str, str]]
    notes: tuple[str, ...]  # lines that say what was left out


def shown(name: str | bytes | Path) -> str:
    """Return a file's name, in any encoding, as text that can be printed and stored."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def some(names: Iterable[str]) -> str:
    """Return the first few names as text, and how many more there are."""
    names = [shown(name) for name in names]
    return ", ".join(names[:SOME]) + (f" and {len(names) - SOME} more" if len(names) > SOME else "")


def none_in(place: Path) -> str:
    """Return the error message for a folder without images."""
    return f"{place} holds no image files ({', '.join(sorted(SUFFIXES))})"


def refuse_dead_link(path: str | Path) -> None:
    """Raise ValueError for a link whose target is missing, or that leads back to itself."""
    if os.path.islink(path) and not Path(path).exists():
        raise ValueError(
            f"{shown(path)} is a link that leads nowhere: remove it, or link it to an image or a "
            "folder of images"
        )


def search(folder: Path, by_class: bool = False, strict: bool = True) -> Found:
    """Return the images at any depth below a folder.

    Args:
        folder: where to look.
        by_class: whether the folders directly below are classes. Then each of them must have an
            image, and each image must be in one of them.
        strict: whether an image in a format that is not supported, a pipe and a broken link are
            errors. If not, they are among the images if their names are those of images.

    Raises ValueError by the rules above, and OSError for a folder that cannot be read.
    """
    images, foreign, left = [], Counter(), Counter()
    for entry, top in _walk(folder, left, by_class, strict):
        suffix = _suffix(entry.name)
        if is_system(entry.name):
            left["hidden images"] += suffix in SUFFIXES
        elif suffix in FOREIGN and strict:
            foreign[suffix] += 1
        elif suffix in SUFFIXES | FOREIGN:
            if strict and not entry.is_file():
                refuse_dead_link(entry.path)
                raise ValueError(
                    f"{entry.path} is a pipe, a socket or a device: remove it, or put the image "
                    "there"
                )
            images.append((entry.path, top))
        else:
            if by_class and not top:
                refuse_dead_link(entry.path)  # it may have been a class
            left[f"{shown(suffix) or 'other'} files"] += 1
    if foreign:
        raise ValueError(
            f"{folder} holds images in formats that are not read ({_counted(foreign)}): convert "
            "them to PNG or JPEG, "
            "or move them elsewhere"
        )
    if by_class:
        _check_classes(folder, images)
    images.sort(key=lambda image: image[0].split(os.sep))
    left = +left  # drops the counts of 0
    return Found(images, (f"{shown(folder)}: left out {_counted(left)}",) if left else ())


def _walk(
    folder: Path, left: Counter[str], by_class: bool, strict: bool
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield every file at any depth, with the name of its folder directly below `folder`, or "".

    Counts in `left` what it skips.
    """
    # Real folder → its `top`, the name of its folder directly below `folder`. The folders above are
    # included: a link to one of them would lead back here.
    owners = {_identity(above): "" for above in Path(folder).resolve().parents}
    waiting, links = [(os.fspath(folder), "")], []
    while waiting or links:
        # Links come last and in order, so that it is always the same path that counts.
        here, top = waiting.pop() if waiting else heapq.heappop(links)
        if (identity := _identity(here)) in owners:
            if by_class and owners[identity] not in ("", top):
                raise ValueError(
                    f"{here} belongs to two classes, {some([owners[identity], top])}: remove a link"
                )
            left["links to folders that are there already"] += 1
            continue
        owners[identity] = top
        with os.scandir(here) as entries:
            for entry in entries:
                if not _is_folder(entry, strict):
                    yield entry, top
                elif is_system(entry.name):
                    inside = (name for _, _, names in os.walk(entry.path) for name in names)
                    left["images in hidden or system folders"] += sum(
                        _suffix(name) in SUFFIXES | FOREIGN for name in inside
                    )
                elif entry.is_symlink():
                    heapq.heappush(links, (entry.path, top or entry.name))
                else:
                    waiting.append((entry.path, top or entry.name))


def _is_folder(entry: os.DirEntry[str], strict: bool) -> bool:
    """Return whether an entry is a folder or a link to one.

    Raises ValueError for a loop of links if `strict`. A hidden loop is no folder.
    """
    try:
        return entry.is_dir()
    except OSError:
        if not strict or is_system(entry.name):
            return False
        refuse_dead_link(entry.path)
        raise


def _check_classes(folder: Path, images: list[tuple[str, str]]) -> None:
    tops = {top for _, top in images}
    if not images:
        raise ValueError(none_in(folder))
    if "" in tops:
        raise ValueError(f"{folder} holds images that lie in no class folder: move or delete them")
    with os.scandir(folder) as entries:
        empty = [
            entry.name
            for entry in entries
            if not is_system(entry.name) and entry.is_dir() and entry.name not in tops
        ]
    if empty:
        raise ValueError(
            f"{folder} has class folders without images ({some(sorted(empty))}): put images "
            "there, or remove them"
        )


def _identity(folder: str | Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def is_system(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or made by a system or program."""
    return name.startswith(".") or name.lower() in SYSTEM


def _counted(numbers: Counter[str]) -> str:
    return ", ".join(f"{number} {what}" for what, number in sorted(numbers.items()))
