"""A checksum of a set of images, which tells whether the data has changed since a run began."""

import hashlib
import os
from pathlib import Path

from .decoding import opened
from .images import EVALUATION_BATCH
from .sources import limited
from .streaming import ImageFiles, ImageSet

# Files of a set whose content counts: reading them takes seconds; in a larger set they are a random
# sample.
READ = 2_000


def of(images: ImageSet) -> str:
    """The SHA-256 (64 hexadecimal digits) of a set's images, their number and order, their labels
    and the class names.

    For a set in memory, all pixels count. For a set in files, every file's name and size count, and
    the content of `READ` files. Folders and dates do not count, so a copy of the data has the same
    fingerprint.
    """
    facts = (len(images), tuple(images.size), images.classes)
    digest = hashlib.sha256(repr(facts).encode("utf-8", "backslashreplace"))
    digest.update(images.labels.numpy())
    if isinstance(images, ImageFiles):
        for path in images.paths:
            digest.update(b"%s %d\n" % (os.path.basename(path), os.path.getsize(path)))
        for position in limited(len(images), READ).tolist():
            with opened(Path(os.fsdecode(images.paths[position]))) as file:
                digest.update(file.read())
    else:
        for pixels in images.batches(EVALUATION_BATCH):
            digest.update(pixels.contiguous().numpy())
    return digest.hexdigest()
