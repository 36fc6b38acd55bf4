"""A checksum of a data set: it shows whether the data has changed since a run began."""

import hashlib
import os
from pathlib import Path

from utils.files import open_regular

from .images import EVALUATION_BATCH
from .splits import limited
from .streaming import ImageFiles, ImageSet

# Number of files whose content is read, which takes seconds. In a larger set they are a random
# sample.
MAX_FILES = 2_000


def of(images: ImageSet) -> str:
    """Return the SHA-256 (64 hexadecimal digits) of a data set.

    It depends on the number, the order and the labels of the images, and on the class names. For a
    set in memory, it depends on all pixels. For a set in files, it depends on every file's name and
    size, and on the content of `MAX_FILES` files. It does not depend on folders and dates, so a
    copy of the data has the same fingerprint.
    """
    facts = (len(images), tuple(images.size), images.classes)
    digest = hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace"))
    digest.update(images.labels.numpy().tobytes())
    if isinstance(images, ImageFiles):
        for path in images.paths:
            digest.update(b"%s %d\n" % (os.path.basename(path), os.path.getsize(path)))
        for position in limited(len(images), MAX_FILES).tolist():
            with open_regular(Path(os.fsdecode(images.paths[position]))) as file:
                digest.update(file.read())
    else:
        for pixels in images.batches(EVALUATION_BATCH):
            digest.update(pixels.numpy().tobytes())
    return digest.hexdigest()
