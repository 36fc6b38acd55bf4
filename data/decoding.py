"""One image file, and how it becomes three channels of 8 bits.

The rules, in this order:
- It is a file: a pipe, a socket or a device is never opened.
- Its format is one of `FORMATS`, whatever its name ends in. Its pixels are all there.
- It holds one image (of a JPEG with several, as some cameras write, the first counts), of at most
  `LARGEST` pixels and at most 8 bits a channel. More bits have no one meaning in 8.
- It is turned as its EXIF orientation says, which is how viewers show it.
- Where it is transparent, it lies on white. Then Pillow converts it to RGB.
"""

import io
import logging
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError
from torch import Tensor

from . import damage

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF")
# How the names of such files end.
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".bmp", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff"}
)
LARGEST = 2**26  # pixels of an image: decoded and resized, it then takes about 1 GB

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # of these, those that change width and height


logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it would print, errors say too


class Unfit(ValueError):
    """An image that is whole, but cannot be taken as it is; the message ends in what to do."""


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file, opened to be read. Raises ValueError for what is no file, an OSError for one that cannot be read."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Unfit(f"{path} is no file but a pipe, a socket, a device or a folder: remove it")
    # What has become a pipe since would wait for ever for someone who writes into it.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise Unfit(f"{path} is no file any more: put the image back")
        yield file


@contextmanager
def _image(path: Path, whole: bool = False) -> Iterator[tuple[Image.Image, BinaryIO]]:
    """An image file, opened by Pillow, and what it is read from; with `whole` from memory, after a look at all of it.

    Raises ValueError, naming it, for what goes wrong with it. What Pillow only warns of is no matter.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # with which Pillow makes up what is missing, whoever set it
    try:
        with warnings.catch_warnings(action="ignore"), opened(path) as file:
            source = io.BytesIO(file.read()) if whole else file
            if whole:
                damage.refuse_damaged(source.getvalue())
            with Image.open(source, formats=FORMATS) as image:
                _refuse_unfit(path, image)
                yield image, source
    except Unfit as error:
        raise ValueError(str(error)) from None  # as such it comes from other processes
    except Image.DecompressionBombError:  # far beyond LARGEST
        raise ValueError(str(_too_large(path))) from None
    except PermissionError:
        raise ValueError(f"{path} may not be read: change its permissions, or remove it") from None
    except UnidentifiedImageError as error:
        message = f"{path} cannot be read as an image (it is no {', '.join(FORMATS)}, or damaged): convert it, or fetch it again"
        raise ValueError(message) from error
    except Exception as error:  # Pillow lets through what its decoders meet in damaged bytes, a SyntaxError among it
        raise ValueError(f"{path} cannot be read as an image ({error}): delete it or fetch it again") from error


def _refuse_unfit(path: Path, image: Image.Image) -> None:
    """Raises Unfit for what the head of an image says."""
    if image.width * image.height > LARGEST:
        raise _too_large(path)
    if getattr(image, "is_animated", False) and image.format != "MPO":  # that is a JPEG with a preview or a second view
        raise Unfit(f"{path} holds several images: save the one that is meant in a file of its own")
    if image.mode.startswith(("I", "F")) or _bits(image) > 8:
        raise Unfit(f"{path} has more than 8 bits a channel: save it with 8, scaled as its values mean it")


def _too_large(path: Path) -> Unfit:
    return Unfit(f"{path} has more than {LARGEST // 10**6} million pixels: scale it down")


def _bits(image: Image.Image) -> int:
    """Bits a channel, where Pillow would cut off those beyond 8 without a word."""
    if image.format == "PNG":
        return 16 if ";16" in str(image.tile[0][3]) else 8
    return max(image.tag_v2.get(258, (8,))) if image.format == "TIFF" else 8


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF has it."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF turns an image in no viewer
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        # What is transparent has a colour too, which nobody has seen.
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode(path: Path) -> Tensor:
    """One image file as uint8 [3, H, W], by the rules above. Raises ValueError, naming it, where that is not possible."""
    with _image(path, whole=True) as (image, source):
        image.load()
        damage.refuse_missing_pixels(image, source.getvalue())
        turn = _TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        return torch.from_numpy(np.array(_rgb(upright))).permute(2, 0, 1)


def size_of(path: Path) -> tuple[int, int]:
    """An image file's (height, width) once it is upright. Raises ValueError, naming it, if its head is damaged."""
    with _image(path) as (image, _):
        if image.width != image.height and _orientation(image) in SIDEWAYS:
            image.load()  # which turns a TIFF
            if _orientation(image) in SIDEWAYS:
                return image.size
        return image.size[::-1]
