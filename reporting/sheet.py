"""A contact sheet: a picture of some accepted and some refused images, each with its answer."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from data.decoding import decode
from utils.files import whole_file

from .rows import Row

MOST = 48  # accepted images on a sheet, and refused ones
COLUMNS = 8
TILE = 152  # pixels between the left sides of two images
SIDE = 132  # the longer side of an image
TEXT = 15  # size of the font
LINE = 20  # pixels from one line of text to the next
GAP = 24  # pixels around the sheet and between its parts
WIDTH = 2 * GAP + COLUMNS * TILE - (TILE - SIDE)
HEIGHT = SIDE + 3 * LINE + 20  # of an image with its text
INK, FAINT, BEHIND = "#1a1a1a", "#6b6b6b", "#e4e4e4"
COLOURS = {"accepted": "#1a7f37", "refused": "#b42318"}  # of a part's title and frames


class Samples:
    """The accepted and the refused images of a sheet, drawn at random while they come.

    Every image has the same chance (reservoir sampling, Vitter's algorithm R), and the images are
    the same ones each time.
    """

    def __init__(self) -> None:
        self.rows: dict[str, list[Row]] = {kind: [] for kind in COLOURS}
        self.seen = dict.fromkeys(COLOURS, 0)
        self._random = random.Random(0)

    def add(self, row: Row) -> None:
        """Let an image take part. Those that could not be read do not."""
        if row.error:
            return
        kind = "accepted" if row.accepted else "refused"
        self.seen[kind] += 1
        if len(self.rows[kind]) < MOST:
            self.rows[kind].append(row)
        elif (place := self._random.randrange(self.seen[kind])) < MOST:
            self.rows[kind][place] = row


@contextmanager
def writer(path: Path, note: str) -> Iterator[Callable[[Row], None]]:
    """Yield a function that takes each image's row. The sheet is written at the end, as a PNG.

    The file is whole or not there. Raises OSError if it cannot be written.

    Args:
        path: the file.
        note: a line for the top of the sheet.
    """
    with whole_file(path) as temporary:
        samples = Samples()
        yield samples.add
        _draw(samples, note).save(temporary, "png")


def _draw(samples: Samples, note: str) -> Image.Image:
    """Return the sheet. The highest scores come first."""
    parts = {
        kind: sorted(rows, key=lambda row: row.score or 0, reverse=True)
        for kind, rows in samples.rows.items()
    }
    heights = [2 * LINE + -(-len(rows) // COLUMNS) * HEIGHT for rows in parts.values()]
    top = GAP + LINE + GAP  # below the note
    page = Image.new("RGB", (WIDTH, top + sum(heights) + GAP * len(parts)), "white")
    draw = ImageDraw.Draw(page)
    draw.text((GAP, GAP), note, INK, _font(TEXT))
    for (kind, rows), height in zip(parts.items(), heights, strict=True):
        shown, seen = len(rows), samples.seen[kind]
        title = f"{seen:,} {kind}" + (f"; {shown} of them, drawn at random" if shown < seen else "")
        draw.text((GAP, top), title, COLOURS[kind], _font(TEXT + 5, bold=True))
        for number, row in enumerate(rows):
            line, column = divmod(number, COLUMNS)
            place = (GAP + column * TILE, top + 2 * LINE + line * HEIGHT)
            _paste(page, row, place, COLOURS[kind])
        top += height + GAP
    return page


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return a font that comes with matplotlib and knows most alphabets."""
    from matplotlib import get_data_path  # imported here: only a sheet needs it, and it is slow

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", name), size)


def _thumbnail(file: str) -> Image.Image:
    """Return an image whose longer side is `SIDE`; an empty one if the file is gone."""
    try:
        image = Image.fromarray(decode(Path(file)).permute(1, 2, 0).numpy())
    except ValueError:
        return Image.new("RGB", (SIDE, SIDE), BEHIND)
    scale = SIDE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    # Tiny images stay as sharp as they are.
    how = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    return image.resize((width, height), how)


def _paste(page: Image.Image, row: Row, place: tuple[int, int], colour: str) -> None:
    """Put an image and its answer into the page, at this left upper corner."""
    left, top = place
    draw = ImageDraw.Draw(page)
    frame = (left - 2, top - 2, left + SIDE + 1, top + SIDE + 1)
    draw.rectangle(frame, BEHIND, colour, width=2)
    image = _thumbnail(row.file)
    page.paste(image, (left + (SIDE - image.width) // 2, top + (SIDE - image.height) // 2))
    lines = (
        (f"{row.name}", INK, _font(TEXT, bold=True)),
        (f"{row.probability:.0%}, score {row.score:.3g}", FAINT, _font(TEXT - 2)),
        (Path(row.file).name, FAINT, _font(TEXT - 2)),
    )
    for number, (text, ink, font) in enumerate(lines):
        text = _shortened("".join(c if c.isprintable() else "?" for c in text), font)
        draw.text((left, top + SIDE + 6 + number * LINE), text, ink, font)


def _shortened(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Return the text, cut so that it does not touch the next image's."""
    width = TILE - 8
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text}…"
