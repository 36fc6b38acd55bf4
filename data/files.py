"""A user's own images: a folder of class folders, an .npz, or an image list.

What is wrong raises a ValueError that names the file, and what is missing a FileNotFoundError.

An image list is a text file in the style of OpenOOD's lists. It has a line `PATH LABEL` for each
image. The path is relative to the data directory, or absolute, and may contain spaces. The label
is an integer: the class's number, or -1 for an out-of-distribution image.
"""

import codecs
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.datasets import ImageFolder

from .decoding import SUFFIXES, size_of
from .images import Images, is_grey, like
from .streaming import ImageFiles, ImageSet

IN_MEMORY = 4 * 2**30  # decoded, a split of more bytes is streamed
LIST = ".txt"  # how the name of an image list ends
SHOWN = 80  # characters of a list's line that an error repeats


def image_files(folder: Path) -> list[Path]:
    """All image files below a folder, sorted; hidden ones (.DS_Store, ._x.png) left out."""
    inside = list(folder.iterdir())
    # A class's folder may be a link; rglob follows no others.
    below = (p for each in inside if each.is_dir() for p in each.rglob("*"))
    named = (p for p in (*inside, *below) if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    # No folders and pipes; but a broken link is an image that is missing, and shall be named as such.
    return sorted(p for p in named if p.is_file() or p.is_symlink())


def _line(line: bytes, where: str, root: Path) -> tuple[Path, int]:
    """The image and the label of one line of an image list; each error begins with `where`."""
    # Bytes, since a file's name may be in any encoding.
    parts = [os.fsdecode(part) for part in line.rsplit(None, 1)]
    shown = [repr(part if len(part) <= SHOWN else f"{part[:SHOWN]}...") for part in parts]
    if len(parts) < 2:
        raise ValueError(f"{where}: {shown[0]} is not `PATH LABEL`: write both")
    try:
        label = int(parts[1])
    except ValueError:
        raise ValueError(f"{where}: the label {shown[1]} is not an integer: write a whole number after the path") from None
    path = root / parts[0]
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{where}: {shown[0]} is no image file ({', '.join(sorted(SUFFIXES))}): convert it, or remove the line")
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{where}: the image {path} is missing (paths are relative to --data-dir {root}): "
            "correct the path, or name another --data-dir"
        )
    return path, label


def _of_list(list_: Path, root: Path, labelled: bool) -> tuple[list[Path], Tensor]:
    """The images of an image list and their labels; without `labelled` those are all -1."""
    content = list_.read_bytes().removeprefix(codecs.BOM_UTF8)  # which Windows puts before a text
    if b"\0" in content:
        raise ValueError(f"{list_} is no text file: write a line `PATH LABEL` for each image")
    paths, labels = [], []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{list_}, line {number}"
        path, label = _line(line, where, root)
        if labelled and not 0 <= label < 2**63:
            raise ValueError(
                f"{where}: the label {label} is no class: number the classes from "
                "0 on, and put images without a class (-1) into a list for --ood"
            )
        paths.append(path)
        labels.append(label if labelled else -1)
    if not paths:
        raise ValueError(f"{list_} lists no images: write a line `PATH LABEL` for each image")
    return paths, torch.tensor(labels)


def _listed(place: Path, root: Path, labelled: bool = True) -> tuple[list[Path], Tensor, tuple[str, ...]]:
    """The image files of a folder or an image list, their labels, and the classes' names.

    In a folder an image's class is the first folder below it. A list names no classes: ().
    """
    if not place.is_dir():
        return *_of_list(place, root, labelled), ()
    paths = image_files(place)
    if not paths:
        raise ValueError(f"{place} holds no image files ({', '.join(sorted(SUFFIXES))})")
    names = [path.relative_to(place).parts[0] if path.parent != place else "" for path in paths]
    classes = tuple(sorted(set(names)))
    number = {name: i for i, name in enumerate(classes)}
    return paths, torch.tensor([number[name] for name in names]), classes


def load_split(place: Path, root: Path = Path()) -> ImageSet:
    """A folder of class folders, or an image list; its images must all be of one size.

    They are decoded into memory, or left in their files if they would take more than `IN_MEMORY`
    bytes. The paths in a list are relative to `root`.
    """
    paths, labels, classes = _listed(place, root)
    size = size_of(paths[0])
    for path in paths:
        if (other := size_of(path)) != size:
            shown = f"{paths[0].name} {size[0]}×{size[1]}, {path} {other[0]}×{other[1]}"
            raise ValueError(f"{place} holds images of several sizes ({shown}): resize them to one")
    return _held(ImageFiles(np.array([os.fsencode(path) for path in paths]), labels, classes, size))


def _held(stored: ImageFiles) -> ImageSet:
    """Files as they are if in memory they would take more than `IN_MEMORY` bytes, else decoded."""
    height, width = stored.size
    return stored if 3 * height * width * len(stored) > IN_MEMORY else stored.decoded()


def load_cropped(folder: Path, size: tuple[int, int], margin: int) -> ImageFiles:
    """A folder of class folders with images of any size, as torchvision's ImageFolder lists them; no file is opened.

    Training takes random crops of them, all else their centres with a margin.
    """
    try:
        found = ImageFolder(folder, is_valid_file=lambda path: Path(path).suffix.lower() in SUFFIXES and not _hidden(path))
    except FileNotFoundError as error:
        raise ValueError(f"{folder}: {error} (supported: {', '.join(sorted(SUFFIXES))})") from error
    paths, labels = zip(*found.samples, strict=True)
    names = np.array([os.fsencode(path) for path in paths])
    return ImageFiles(names, torch.tensor(labels), tuple(found.classes), size, margin, crops=True)


def _hidden(path: str) -> bool:
    return os.path.basename(path).startswith(".")


def load_npz(path: Path, labelled: bool = True) -> Images:
    """An .npz with `images` uint8 [N, H, W, 3 or 1], `labels` integers [N] and, where given, `class_names` [C].

    Without `labelled` the labels are not read and are all -1. Without `class_names` the classes are ().
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise ValueError("it is a single array, an .npy")
        with loaded as archive:
            arrays = {name: archive[name] for name in ("images", "labels", "class_names") if name in archive}
    except Exception as error:  # NumPy lets through what it meets in damaged bytes, a SyntaxError among it
        # NumPy's ValueErrors advise to unpickle, which runs whatever code the file holds.
        reason = "it is something else, or holds pickled objects" if isinstance(error, ValueError) else error
        raise ValueError(f"{path} cannot be read as an .npz ({reason}): save plain arrays with numpy.savez") from error
    if "images" not in arrays or (labelled and "labels" not in arrays):
        raise ValueError(f"{path} needs arrays named images and labels, it has {', '.join(arrays) or 'neither'}")
    images = arrays["images"]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or not images.size:
        raise ValueError(f"{path}: images must be uint8 [N, H, W, 3], got {images.dtype} {list(images.shape)}")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).expand(-1, 3, -1, -1)
    if not labelled:
        return Images(pixels, torch.full((len(pixels),), -1), ())
    labels = arrays["labels"]
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{path}: labels must be integers [{len(images)}], got {labels.dtype} {list(labels.shape)}")
    classes = tuple(map(str, np.atleast_1d(arrays.get("class_names", ()))))
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), classes)


def _numbered(labels: Tensor, folder: Path) -> tuple[str, ...]:
    """The classes of training labels that come without names: their numbers."""
    numbers = labels.unique().tolist()
    if numbers != list(range(len(numbers))):
        shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        raise ValueError(
            f"{folder}: training labels must number the classes from 0 on without a gap, got {shown}: "
            "renumber them, or add class_names to an .npz"
        )
    return tuple(map(str, numbers))


def load_train_and_test(folder: Path, root: Path = Path()) -> tuple[ImageSet, ImageSet]:
    """An in-distribution set: a folder that holds `train` and `test`.

    Each is an .npz, an image list (train.txt, whose paths are relative to `root`) or a folder of
    class folders. The first of these that is there counts: a list may lie beside its images.
    """
    parts = []
    for split in ("train", "test"):
        if (folder / f"{split}.npz").is_file():
            parts.append(load_npz(folder / f"{split}.npz"))
        elif (folder / f"{split}{LIST}").is_file():
            parts.append(load_split(folder / f"{split}{LIST}", root))
        elif (folder / split).is_dir():
            parts.append(load_split(folder / split))
            if "" in parts[-1].classes:
                raise ValueError(f"{folder / split} holds images that lie in no class folder: move or delete them")
        else:
            raise ValueError(
                f"{folder} holds no {split}.npz, no {split}{LIST} and no folder {split}: "
                "an in-distribution set needs train and test"
            )
    train, test = parts
    if train.size != test.size:
        both = " and ".join("×".join(map(str, part.size)) for part in parts)
        raise ValueError(f"{folder}: train and test images differ in size ({both}): resize them to one")
    if not train.classes:
        train = replace(train, classes=_numbered(train.labels, folder))
    # A list has numbers. An .npz has numbers, and perhaps names. Folders have names. Those of both
    # splits must be the same.
    if test.classes not in ((), train.classes):
        names = " and ".join(f"({', '.join(part.classes)})" for part in (train, test))
        raise ValueError(f"{folder}: train and test have different classes {names}: rename them, or give an .npz class_names")
    return train, replace(test, classes=train.classes)


def load_out(path: Path, reference: Tensor, margin: int = 0, root: Path = Path()) -> ImageSet:
    """An out-of-distribution set in the format of reference images; its labels are -1.

    It is an .npz, an image list (whose paths are relative to `root`), or a folder with images
    anywhere below it. Images that would take more than `IN_MEMORY` bytes are streamed from their
    files. See `images.like` and `covered`.
    """
    if not path.is_dir() and not path.is_file():  # a pipe would never end
        raise ValueError(f"{path} is neither a file nor a folder: give an .npz, a list or a folder of images")
    if not path.is_dir() and path.suffix != LIST:
        found = load_npz(path, labelled=False)
        return replace(found, pixels=like(found.pixels, reference, margin))
    paths, _, _ = _listed(path, root, labelled=False)
    names, labels = np.array([os.fsencode(each) for each in paths]), torch.full((len(paths),), -1)
    size = tuple(reference.shape[-2:])
    return _held(ImageFiles(names, labels, (), size, margin, grey=is_grey(reference)))
