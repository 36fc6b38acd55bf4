"""One image file: what is read of it, whatever its format, mode and damage."""

import os
import signal
import socket
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from data import files
from data.decoding import decode, size_of
from data.streaming import ImageFiles
from tests.image_files import photograph, png, saved, written


@pytest.fixture
def no_hang():
    """Ends what waits for ever."""

    def stop(*_):
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def turned(image, orientation):
    """The options by which an image is saved with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return {"exif": exif.tobytes()}


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "mpo.jpg"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_viewers_turn_it(tmp_path, suffix, orientation):
    options = turned(photograph(), orientation)
    if suffix == "mpo.jpg":
        options |= {"format": "MPO", "save_all": True, "append_images": [photograph()]}
    path = saved(tmp_path / f"1.{suffix}", photograph(), **options)
    with Image.open(path) as stored:
        upright = np.array(ImageOps.exif_transpose(stored).convert("RGB"))
    assert upright.shape[:2] == ((40, 24) if orientation > 4 else (24, 40))
    assert decode(path).permute(1, 2, 0).numpy().tobytes() == upright.tobytes()
    assert size_of(path) == upright.shape[:2]


def test_turned_images_are_upright_everywhere(tmp_path):
    stored = photograph().transpose(Image.Transpose.ROTATE_90)
    for kind in ("a", "b"):
        (tmp_path / "set" / kind).mkdir(parents=True)
        saved(tmp_path / "set" / kind / "upright.png", photograph())
        saved(tmp_path / "set" / kind / "turned.png", stored, **turned(stored, 6))
    (tmp_path / "list.txt").write_text("set/a/upright.png 0\nset/a/turned.png 0\n")
    split, reference = (
        files.load_split(tmp_path / "set"),
        torch.randint(256, (1, 3, 24, 40), dtype=torch.uint8),
    )
    found = [split.pixels, files.load_split(tmp_path / "list.txt", tmp_path).pixels]
    found += [
        files.load_ood(tmp_path / name, reference, root=tmp_path).pixels
        for name in ("set", "list.txt")
    ]
    found.append(files.load_cropped(tmp_path / "set", (24, 40), 0).first(4))
    for pixels in found:
        assert pixels.eq(pixels[:1]).all()


def test_exif_that_cannot_be_read_turns_nothing(tmp_path):
    path = saved(tmp_path / "1.png", photograph(), exif=b"Exif\0\0nonsense that is no TIFF")
    assert decode(path).permute(1, 2, 0).numpy().tobytes() == photograph().tobytes()


def of_one_colour(mode, colour):
    return Image.new(mode, (6, 4), colour)


def palette(transparent):
    image = Image.new("P", (6, 4), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    if transparent:
        image.info["transparency"] = 1
    return image


HALF = tuple(round((colour + 255) / 2) for colour in (200, 100, 50))
WHOLE = [
    ("RGB", "png", of_one_colour("RGB", (200, 100, 50)), (200, 100, 50)),
    ("grey", "png", of_one_colour("L", 77), (77, 77, 77)),
    ("1 bit", "png", of_one_colour("1", 1), (255, 255, 255)),
    ("palette", "png", palette(False), (200, 100, 50)),
    ("palette", "gif", palette(False), (200, 100, 50)),
    ("palette with a hidden colour", "png", palette(True), (255, 255, 255)),
    ("palette with a hidden colour", "gif", palette(True), (255, 255, 255)),
    ("opaque", "png", of_one_colour("RGBA", (200, 100, 50, 255)), (200, 100, 50)),
    (
        "colours hidden under alpha",
        "png",
        of_one_colour("RGBA", (200, 100, 50, 0)),
        (255, 255, 255),
    ),
    (
        "colours hidden under alpha",
        "webp",
        of_one_colour("RGBA", (200, 100, 50, 0)),
        (255, 255, 255),
    ),
    (
        "colours hidden under alpha",
        "tif",
        of_one_colour("RGBA", (200, 100, 50, 0)),
        (255, 255, 255),
    ),
    ("half transparent", "png", of_one_colour("RGBA", (200, 100, 50, 128)), HALF),
    ("greys hidden under alpha", "png", of_one_colour("LA", (77, 0)), (255, 255, 255)),
    ("CMYK", "jpg", of_one_colour("CMYK", (0, 255, 255, 0)), (254, 0, 0)),
    ("CMYK", "tif", of_one_colour("CMYK", (0, 255, 255, 0)), (255, 0, 0)),
]


@pytest.mark.parametrize(
    ("name", "suffix", "image", "colour"),
    WHOLE,
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mode_becomes_three_channels_by_one_rule(tmp_path, name, suffix, image, colour):
    options = (
        {"lossless": True, "exact": True}
        if suffix == "webp"
        else {"quality": 100}
        if suffix == "jpg"
        else {}
    )
    pixels = decode(saved(tmp_path / f"1.{suffix}", image, **options))
    assert pixels.shape == (3, 4, 6)
    expected = torch.tensor(colour).view(3, 1, 1)
    assert (pixels.int() - expected).abs().max() <= (
        1 if suffix == "jpg" or name.startswith("half") else 0
    )


def two_frames(path):
    return saved(path, photograph(), save_all=True, append_images=[photograph().rotate(90)])


def sixteen(path, mode):
    values = np.arange(40 * 24).reshape(24, 40)
    return saved(
        path,
        Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode])),
    )


DEEP = "has more than 8 bits a channel: save it with 8"
SEVERAL = "holds several images: save the one that is meant"
UNFIT = [
    ("rgb16.png", lambda path: written(path, png((b"\0" + bytes(240)) * 24, depth=16)), DEEP),
    (
        "rgba16.png",
        lambda path: written(path, png((b"\0" + bytes(320)) * 24, depth=16, colours=6)),
        DEEP,
    ),
    ("grey16.png", lambda path: sixteen(path, "I;16"), DEEP),
    ("grey16.tif", lambda path: sixteen(path, "I;16"), DEEP),
    ("int.tif", lambda path: sixteen(path, "I"), DEEP),
    ("float.tiff", lambda path: sixteen(path, "F"), DEEP),
    ("grey16.pgm", lambda path: written(path, b"P5 40 24 4095\n" + bytes(2 * 40 * 24)), DEEP),
    ("rgb10.ppm", lambda path: written(path, b"P6 40 24 1023\n" + bytes(6 * 40 * 24)), DEEP),
    ("text16.ppm", lambda path: written(path, b"P3 40 24 65535\n" + b"0 " * 3 * 40 * 24), DEEP),
    ("moving.gif", two_frames, SEVERAL),
    ("moving.png", two_frames, SEVERAL),
    ("moving.webp", two_frames, SEVERAL),
    ("pages.tif", two_frames, SEVERAL),
    (
        "large.png",
        lambda path: saved(path, Image.new("1", (9000, 8000)), compress_level=1),
        "has more than 67 million pixels: scale",
    ),
    (
        "huge.png",
        lambda path: written(path, png(b"", width=30_000, height=30_000)),
        "has more than 67 million pixels: scale",
    ),
    (
        "photo.jpg",
        lambda path: written(path, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "it is no PNG, JPEG",
    ),
    ("text.png", lambda path: written(path, b"no image"), "it is no PNG, JPEG"),
]


@pytest.mark.parametrize(("name", "make", "message"), UNFIT, ids=[name for name, *_ in UNFIT])
def test_what_cannot_be_taken_whole_is_an_error_with_the_way_out(tmp_path, name, make, message):
    path = make(tmp_path / name)
    with pytest.raises(ValueError, match=message) as found:
        decode(path)
    assert str(path) in str(found.value)
    assert "\n" not in str(found.value)
    assert ("delete it" in str(found.value)) == (
        message not in (DEEP, SEVERAL) and "no PNG" not in message and "67" not in message
    )


def test_an_error_that_comes_from_another_process_is_the_same_line(tmp_path):
    path = two_frames(tmp_path / "moving.gif")
    images = ImageFiles(np.array([os.fsencode(path)]), torch.zeros(1), (), (8, 8))
    with pytest.raises(ValueError, match=f"^{path} {SEVERAL}"):
        list(images.read([torch.tensor([0])]))


def in_rgb16_tif(path):
    """A TIFF of 16 bits a channel, which Pillow reads and does not write: its pixels are three
    16-bit numbers, 4095 at most.
    """
    values = np.full((4, 6, 3), 4095, "<u2").tobytes()
    entries = [
        (256, 3, 6),
        (257, 3, 4),
        (259, 3, 1),
        (262, 3, 2),
        (273, 4, 8),
        (277, 3, 3),
        (278, 3, 4),
        (279, 4, len(values)),
    ]
    where = 8 + len(values)
    bits = (258, 3, 3, where + 2 + 12 * 9 + 4)
    rows = sorted([(tag, kind, 1, value) for tag, kind, value in entries] + [bits])
    table = (
        struct.pack("<H", len(rows))
        + b"".join(struct.pack("<HHII", *row) for row in rows)
        + struct.pack("<I", 0)
    )
    return written(
        path, b"II*\0" + struct.pack("<I", where) + values + table + struct.pack("<HHH", 16, 16, 16)
    )


def test_a_tiff_of_12_in_16_bits_is_not_read_as_nearly_black(tmp_path):
    with Image.open(in_rgb16_tif(tmp_path / "1.tif")) as image:
        assert np.array(image).max() == 15
    with pytest.raises(ValueError, match=DEEP):
        decode(tmp_path / "1.tif")


@pytest.fixture(params=["pipe", "socket", "device", "link to a pipe"])
def no_file(request, tmp_path, monkeypatch):
    """Makes something that is no file at a path."""

    def make(path):
        if request.param == "pipe":
            os.mkfifo(path)
        elif request.param == "socket":
            monkeypatch.chdir(path.parent)  # a socket's path must be short
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(path.name)
        elif request.param == "device":
            path.symlink_to("/dev/zero")
        else:
            os.mkfifo(tmp_path / "pipe")
            path.symlink_to(tmp_path / "pipe")
        return path

    return make


def test_what_is_no_file_is_never_opened(tmp_path, no_file, no_hang):
    path = no_file(tmp_path / "1.png")
    for read in (decode, size_of):
        with pytest.raises(ValueError, match=r"1\.png is no regular file but"):
            read(path)


def test_what_becomes_a_pipe_after_it_was_looked_at_does_not_hang(tmp_path, no_hang, monkeypatch):
    path = saved(tmp_path / "1.png", photograph())
    status = os.stat(path)
    path.unlink()
    os.mkfifo(path)
    monkeypatch.setattr(os, "stat", lambda _: status)
    with pytest.raises(ValueError, match="is no regular file"):
        decode(path)
