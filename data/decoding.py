"""Reads one image file as three channels of 8 bits.

The rules, in this order:
- It must be a regular file. A pipe, a socket or a device is never opened.
- Its format must be one of `FORMATS`, whatever its name ends in, and no pixels may be missing.
- It must hold one image. Some cameras write JPEGs with several: of those the first is taken.
- It may have at most `LARGEST` pixels and at most 8 bits a channel. There is no one right way to
  convert more bits to 8.
- It is turned as its EXIF orientation says, as viewers show it.
- Transparent parts become white. Then Pillow converts it to RGB.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import (
    ExifTags,
    Image,
    ImageFile,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)
from torch import Tensor

from utils.files import NotRegular, open_regular

from . import damage

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "TIFF")
# The endings of their files' names.
SUFFIXES = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".gif",
        ".bmp",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".tif",
        ".tiff",
    }
)
LARGEST = 2**26  # pixels of one image; decoding and resizing that many takes about 1 GB

# EXIF orientation → what turns the image upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # the orientations that swap width and height


logging.getLogger("PIL").addHandler(logging.NullHandler())  # the errors below say the same


class Unfit(ValueError):
    """An image that is not damaged, but is refused. The message ends with what to do."""


@contextmanager
def _image(path: Path, whole: bool = False) -> Iterator[tuple[Image.Image, bytes]]:
    """Yield an image that Pillow has opened, and the content of the file.

    With `whole`, the file is read into memory and checked first. Without it, the content is b"".
    Pillow's warnings are ignored.

    Raises ValueError, which names the file, for every error.
    """
    # Other code may have set it to True: then Pillow would invent missing pixels.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings(action="ignore"), open_regular(path) as file:
            content = file.read() if whole else b""
            source = io.BytesIO(content) if whole else file
            if whole and not content:
                raise Unfit(f"{path} is empty: fetch it again")
            damage.refuse_damaged(content)
            with Image.open(source, formats=FORMATS) as image:
                _refuse_unfit(path, image)
                yield image, content
    except (Unfit, NotRegular):
        raise
    except Image.DecompressionBombError:  # far beyond LARGEST
        raise _too_large(path) from None
    except FileNotFoundError:
        raise ValueError(
            f"{path} is not there, or is a link that leads nowhere: see whether it was moved"
        ) from None
    except PermissionError:
        raise ValueError(f"{path} may not be read: change its permissions, or remove it") from None
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{path} cannot be read as an image (it is no {', '.join(FORMATS)}, or damaged): "
            "convert it, or fetch it again"
        ) from error
    except Exception as error:  # damaged bytes raise almost anything in Pillow, even SyntaxError
        # `strerror` lacks the path. The message of a MemoryError is empty.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ValueError(
            f"{path} cannot be read as an image ({reason}): delete it or fetch it again"
        ) from error


def decode_to_resize(path: Path, size: tuple[int, int], margin: int) -> Tensor:
    """Return `decode` of an image that `images.resize_and_center_crop` will resize.

    Raises ValueError too if the resized image would have more than `LARGEST` pixels.
    """
    pixels = decode(path)
    height, width = pixels.shape[1:]
    scale = max((size[0] + margin) / height, (size[1] + margin) / width)
    if scale > 1 and scale**2 * height * width > LARGEST:  # resizing would fill the memory
        raise Unfit(f"{path} has {width}×{height} pixels, which is too narrow: crop it")
    return pixels


def _refuse_unfit(path: Path, image: Image.Image) -> None:
    """Raise Unfit if the image is too large, is an animation, or has too many bits.

    Reads only the file's header.
    """
    if image.width * image.height > LARGEST:
        raise _too_large(path)
    # MPO is a JPEG with a preview or a second view.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Unfit(f"{path} holds several images: save the one that is meant in a file of its own")
    if image.mode.startswith(("I", "F")) or _bits(image) > 8:
        raise Unfit(
            f"{path} has more than 8 bits a channel: save it with 8, with a scale that fits the "
            "meaning of its values"
        )


def _too_large(path: Path) -> Unfit:
    return Unfit(f"{path} has more than {LARGEST // 10**6} million pixels: scale it down")


def _bits(image: Image.Image) -> int:
    """Return the bits of a channel in the file. Pillow drops those beyond 8 without a warning."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        return 16 if ";16" in str(image.tile[0][3]) else 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(258, (8,)))
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        mode = image.tile[0][3]  # for other largest values than 255, with the largest value
        return int(mode[-1]).bit_length() if isinstance(mode, tuple) else 8
    return 8


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if there is none."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # viewers ignore damaged EXIF too
        return 1


def _rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        # Transparent pixels keep a hidden colour, which convert("RGB") would show.
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def decode(path: Path) -> Tensor:
    """Return one image file as uint8 [3, H, W], by the rules above.

    Raises ValueError, which names the file, if the file is refused.
    """
    with _image(path, whole=True) as (image, content):
        image.load()
        damage.refuse_missing_pixels(image, content)
        turn = _TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        return torch.from_numpy(np.array(_rgb(upright))).permute(2, 0, 1)


def size_of(path: Path) -> tuple[int, int]:
    """Return an image's (height, width) after it is turned upright.

    Raises ValueError, which names the file, if its header is damaged.
    """
    with _image(path) as (image, _):
        if image.width != image.height and _orientation(image) in SIDEWAYS:
            image.load()  # Pillow turns a TIFF itself when it loads it
            if _orientation(image) in SIDEWAYS:
                return image.size
        return image.size[::-1]
