"""By what a set of images is known again."""

import hashlib
import os
from pathlib import Path

from .decoding import opened
from .sources import limited
from .streaming import ImageFiles, ImageSet

READ = 2_000  # files of a set that are read whole, which takes seconds; of a larger set they are from all over it


def of(images: ImageSet) -> str:
    """64 hexadecimal digits (SHA-256) that change with a set's number of images, their order, pixels, labels and classes.

    Of a set in memory all pixels count. Of one in files the files' names and sizes count, and the content of `READ` of them: where
    they lie, and when they were written, does not matter, so that a copy of the data is the same data.
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
        for pixels in images.batches(500):
            digest.update(pixels.contiguous().numpy())
    return digest.hexdigest()
