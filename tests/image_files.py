"""Image files that tests write."""

import struct
import zlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images


def save_npz(path, count=20, size=6, **changes):
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (count, size, size, 3)).astype(np.uint8),
        "labels": np.arange(count) % 4,
    } | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


def save_folders(root, arrays):
    for index, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        folder = root / f"class{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index:03}.png")


def save_lists(folder, arrays):
    """The images of `save_folders` in one folder, and a list of them, which is returned."""
    folder.mkdir(parents=True)
    lines = []
    for index, (image, label) in enumerate(zip(arrays["images"], arrays["labels"], strict=True)):
        Image.fromarray(image).save(folder / f"{index:03}.png")
        lines.append(f"{folder.name}/{index:03}.png {label}\n")
    return "".join(lines)


def photograph(width=40, height=24):
    return Image.fromarray(load_sample_images().images[0]).resize((width, height))


def saved(path, image, **options):
    image.save(path, **options)
    return path


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(rows, depth=8, colours=2, width=40, height=24):
    """A PNG of these bytes, whose checksums are right."""
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def written(path, content):
    path.write_bytes(content)
    return path
