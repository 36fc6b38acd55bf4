"""Images in NumPy's .npz files.

Every error is a ValueError that names the file.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from utils.files import open_regular

from .folders import shown, some
from .images import Images


def load(path: Path) -> Images:
    """Return the images of an .npz with `images` and `labels`, and `class_names` if it has them.

    `images` is uint8 [N, H, W, 3 or 1], `labels` holds integers [N], `class_names` is text [C].
    Without `class_names` the classes are ().
    """
    arrays = _arrays(path, ("images", "labels"))
    pixels = _pixels(path, arrays)
    labels = arrays["labels"]
    if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{path}: labels must be integers [{len(pixels)}], got {labels.dtype} "
            f"{list(labels.shape)}"
        )
    classes = _class_names(path, arrays["class_names"]) if "class_names" in arrays else ()
    dark = f"{path}: no value of the images is above 1, so they are black; white is 255"
    notes = () if pixels.amax() > 1 else (dark,)
    return Images(pixels, torch.from_numpy(labels.astype(np.int64)), classes, notes)


def load_pixels(path: Path) -> Tensor:
    """Return only the images of an .npz, uint8 [N, 3, H, W]; it may have any labels or none."""
    return _pixels(path, _arrays(path, ("images",)))


def _arrays(path: Path, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Return those arrays of an .npz that are read here. Raises ValueError if one is missing."""
    try:
        with open_regular(path) as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it is a single array, an .npy")
            with loaded as archive:
                names = archive.files
                arrays = {
                    name: archive[name]
                    for name in ("images", "labels", "class_names")
                    if name in names
                }
        # For files in the zip that are not arrays, NumPy returns bytes.
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it holds other files")
    except Exception as error:  # damaged bytes can cause almost any error in NumPy
        # NumPy's own ValueErrors advise to unpickle, which would run any code that the file holds.
        reason = (
            "it is something else, or holds pickled objects"
            if isinstance(error, ValueError)
            else error
        )
        raise ValueError(
            f"{path} cannot be read as an .npz ({reason}): save plain arrays with numpy.savez"
        ) from error
    if not set(needed) <= arrays.keys():
        raise ValueError(
            f"{path} needs {' and '.join(needed)}; the arrays in it are "
            f"{some(names) or 'none'} (if these are image files, unpack them and name their folder)"
        )
    return arrays


def _pixels(path: Path, arrays: dict[str, np.ndarray]) -> Tensor:
    images = arrays["images"]
    has_channels = images.ndim == 4 and images.shape[-1] in (1, 3)
    if images.dtype != np.uint8 or not has_channels or not images.size:
        raise ValueError(
            f"{path}: images must be uint8 [N, H, W, 3 or 1] and not empty, got {images.dtype} "
            f"{list(images.shape)}"
        )
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return pixels.expand(-1, 3, -1, -1)


def _class_names(path: Path, names: np.ndarray) -> tuple[str, ...]:
    names = np.atleast_1d(names)
    if names.ndim != 1 or names.dtype.kind not in "SUiu":
        raise ValueError(
            f"{path}: class_names must be text [C], got {names.dtype} {list(names.shape)}"
        )
    classes = tuple(shown(bytes(name)) if names.dtype.kind == "S" else str(name) for name in names)
    if len(set(classes)) < len(classes):
        raise ValueError(
            f"{path}: class names are given twice ({some(sorted(classes))}): give each class its "
            "own"
        )
    return classes
