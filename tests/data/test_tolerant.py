"""Files that cannot be read come as reasons, and do not take the other images with them."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.tolerant import TolerantFiles
from tests.common import special
from tests.image_files import photograph, saved, written


def cut(path):
    saved(path, photograph())
    written(path, path.read_bytes()[:-200])


def animated(path):
    saved(path, photograph(), save_all=True, append_images=[Image.new("RGB", (40, 24))])


KINDS = {
    "cut.jpg": (cut, "cannot be read as an image (it is cut short)"),
    "empty.png": (Path.touch, "is empty"),
    "text.jpg": (lambda path: path.write_text("no image"), "(it is no PNG, "),
    "other.heic": (lambda path: path.write_bytes(b"heic"), "is a .heic file, which is not read"),
    "preview.dng": (lambda path: saved(path, photograph(), format="tiff"), "is a .dng file"),
    "large.png": (lambda path: saved(path, Image.new("1", (9000, 8000))), "67 million pixels"),
    "bomb.png": (lambda path: saved(path, Image.new("1", (30000, 20000))), "67 million pixels"),
    "narrow.tif": (lambda path: saved(path, Image.new("1", (30_000_000, 1))), "is too narrow"),
    "animated.gif": (animated, "holds several images"),
    "gone.png": (lambda path: None, "is not there"),
    "dead.png": (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
    "loop.png": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "pipe.png": (lambda path: special(path, "pipe"), "is no regular file"),
    "folder.png": (Path.mkdir, "is no regular file"),
}


def reader(paths, **options):
    return TolerantFiles(np.array([os.fsencode(path) for path in paths]), (8, 8), **options)


@pytest.mark.parametrize("name", KINDS)
def test_a_file_that_cannot_be_read_gives_a_reason_in_one_line(tmp_path, name):
    make, reason = KINDS[name]
    make(tmp_path / name)
    (batch,) = reader([tmp_path / name]).batches(4)
    assert reason in batch.reasons[0]
    assert str(tmp_path) not in batch.reasons[0]
    assert batch.reasons[0].isprintable()
    assert batch.pixels.shape == (0, 3, 8, 8)
    assert batch.sizes == []


def test_the_other_images_of_a_batch_are_read_here_and_by_other_processes(tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(12)]
    for number, path in enumerate(paths):
        saved(path, Image.new("RGB", (16 + number, 20), (number, 0, 0)))
    good = [number for number in range(12) if number not in (0, 5, 8, 9, 10, 11)]
    for number in (0, 5, 8, 9, 10, 11):
        paths[number].write_bytes(b"nothing")
    for batch_size in (4, 12):
        batches = list(reader(paths).batches(batch_size))
        assert len(batches) == 12 // batch_size
        read = torch.cat([batch.pixels for batch in batches])
        assert read[:, 0, 0, 0].tolist() == good
        assert [size for batch in batches for size in batch.sizes] == [(20, 16 + n) for n in good]
        reasons = [reason for batch in batches for reason in batch.reasons]
        assert [number for number in range(12) if not reasons[number]] == good


def test_a_file_that_may_not_be_read_gives_a_reason():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # which others may enter
        os.chmod(name, 0o755)
        path = saved(Path(name) / "1.png", photograph())
        os.chmod(path, 0)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            (batch,) = reader([path]).batches(1)
        finally:
            if root:
                os.seteuid(0)
    assert batch.reasons == ["may not be read: change its permissions, or remove it"]


READING = """
import os, resource, sys, numpy, torch
from data.tolerant import TolerantFiles
torch.set_num_threads(1)
paths, side = numpy.array([os.fsencode(path) for path in sys.argv[2:]]), int(sys.argv[1])
TolerantFiles(paths, (9, 9))[[1]]  # loads what reading needs
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 10**8,) * 2)
print("\\n".join(TolerantFiles(paths, (side, side))[[0, 1]].reasons))
"""


@pytest.mark.parametrize(("side", "too_large"), [(8, [True, False]), (8000, [True, True])])
def test_an_image_that_does_not_fit_into_memory_gives_a_reason(tmp_path, script, side, too_large):
    """The large image does not when it is decoded, the small one when it is resized to 8000."""
    large = saved(tmp_path / "large.png", Image.new("1", (8000, 8000)))
    small = saved(tmp_path / "small.png", photograph(24, 24))
    done = script("-c", READING, str(side), str(large), str(small))
    assert done.returncode == 0, done.stderr
    assert ["memory" in line.lower() for line in done.stdout.split("\n")[:2]] == too_large
