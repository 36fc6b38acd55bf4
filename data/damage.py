"""Finds damage in image files that Pillow does not report.

Pillow fills in missing pixels without an error.
"""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
END = b"\xff\xd9"  # the marker at the end of a JPEG
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG colour type → channels
# An interlaced PNG's seven images: first column and row, and the steps between columns and rows.
ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)


def refuse_damaged(whole: bytes) -> None:
    """Raise ValueError for a PNG with a wrong checksum, and for a JPEG without its end marker.

    A JPEG that was cut has no end marker.
    """
    if whole.startswith(PNG):
        for _ in _chunks(whole):
            pass
    if whole.startswith(JPEG) and whole.find(END, _first_scan(whole)) < 0:
        raise ValueError("it is cut short")


def refuse_missing_pixels(image: Image.Image, whole: bytes) -> None:
    """Raise ValueError for a PNG that is complete but has fewer bytes than its pixels need.

    Pillow makes missing pixels black. The image must be loaded.
    """
    if image.format != "PNG":
        return
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", whole, 16)
    last = image.crop((0, height - 1, width, height))
    # If the last row is not black, it is not missing, and the bytes need not be counted.
    if last.getbbox() and not interlaced:
        return
    expected = 0
    for left, top, across, down in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-max(0, width - left) // across), -(-max(0, height - top) // down)
        expected += rows * (1 + (columns * CHANNELS[colours] * depth + 7) // 8) * (columns > 0)
    inflate, found = zlib.decompressobj(), 0
    for kind, body in _chunks(whole):
        found += len(inflate.decompress(body)) if kind == b"IDAT" else 0
    if found < expected:
        raise ValueError("pixels are missing at its end")


def _chunks(png: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the kind and the body of each chunk of a PNG.

    Raises ValueError for a chunk with a wrong checksum.
    """
    view, place = memoryview(png), len(PNG)
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        kind, body = png[place + 4 : place + 8], view[place + 8 : place + 8 + length]
        if (
            zlib.crc32(body, zlib.crc32(kind)).to_bytes(4, "big")
            != png[place + 8 + length : place + 12 + length]
        ):
            raise ValueError(f"the checksum of its part {kind.decode('ascii', 'replace')} is wrong")
        yield kind, body
        if kind == b"IEND":
            return
        place += 12 + length


def _first_scan(jpeg: bytes) -> int:
    """Return the position where a JPEG's pixels begin, after the preview in its header, if any."""
    place = 2
    while (
        jpeg[place : place + 1] == b"\xff"
        and jpeg[place + 1 : place + 2] != b"\xda"
        and place + 4 <= len(jpeg)
    ):
        fill = jpeg[place + 1] == 0xFF
        place += 1 if fill else 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    return place
