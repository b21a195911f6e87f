"""Text on pictures: measured, broken into lines and drawn, alike on every machine.

The font is the one that Pillow brings, which has little more than ASCII; letters with
accents lose these, and what is left becomes a question mark.
"""

import bisect
import functools
import re
import unicodedata
from collections.abc import Sequence

from PIL import Image as PILImage, ImageDraw, ImageFont, features


MIN_TEXT = 14
_LEADING = 1.3
# Those that Unicode does not take apart.
_SIMILAR = str.maketrans(
    {
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\u00b7", "-"),
        **dict.fromkeys("\u2018\u2019\u201a", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        "\N{MULTIPLICATION SIGN}": "x",
        "ß": "ss",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "æ": "ae",
        "Æ": "Ae",
        "œ": "oe",
        "Œ": "Oe",
    }
)
_WORD = re.compile(r"[^\s_\-./,]*[\s_\-./,]*")


def drawable(text: str) -> str:
    """Return `text` with what the font has; line breaks stay."""
    parts = unicodedata.normalize("NFKD", text.translate(_SIMILAR))
    letters = [part for part in parts if not unicodedata.combining(part)]
    return "".join(c if c == "\n" or " " <= c <= "~" else "?" for c in letters)


def drawable_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels with what the font has, numbered if two would be alike."""
    drawn = [drawable(label) for label in labels]
    if len(set(drawn)) < len(set(labels)):
        drawn = [f"{number}: {text}" for number, text in enumerate(drawn, start=1)]
    return tuple(drawn)


def line_height(size: int) -> int:
    """Return the pixels from one line of text to the next."""
    return round(_LEADING * size)


def text_width(text: str, size: int) -> float:
    """Return how wide a line is, in pixels."""
    font = _font(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        return font.getlength(text)
    return font.getlength(text) * _enlargement(size)


def wrap(text: str, size: int, width: float) -> list[str]:
    """Break text into lines, after spaces and `_-./,` if possible."""
    return [
        line
        for paragraph in text.split("\n")
        for line in _wrap_line(paragraph, size, width)
    ]


def _wrap_line(text: str, size: int, width: float) -> list[str]:
    if text_width(text, size) <= width:
        return [text]
    lines, line = [], ""
    for word in _WORD.findall(text):
        if text_width((line + word).rstrip(), size) <= width:
            line += word
            continue
        if line:
            lines.append(line.rstrip())
        line = word
        while text_width(line.rstrip(), size) > width and len(line) > 1:
            ends = range(2, len(line))
            end = 1 + bisect.bisect_right(
                ends, width, key=lambda end: text_width(line[:end], size)
            )
            lines.append(line[:end])
            line = line[end:]
    return [*lines, line.rstrip()] if line.strip() else lines


def shorten(text: str, size: int, width: float, max_lines: int) -> list[str]:
    """Break each line of text into at most `max_lines`.

    What has no room is left out of the middle: beginnings and ends tell more.
    """
    return [
        line
        for paragraph in text.split("\n")
        for line in _shorten_line(paragraph, size, width, max_lines)
    ]


def _shorten_line(text: str, size: int, width: float, max_lines: int) -> list[str]:
    lines = _wrap_line(text, size, width)
    if len(lines) <= max_lines:
        return lines
    fewest, most = 0, len(text)
    while most - fewest > 1:
        middle = (fewest + most) // 2
        lines = _wrap_line(_without_middle(text, middle), size, width)
        if len(lines) <= max_lines:
            fewest = middle
        else:
            most = middle
    return _wrap_line(_without_middle(text, fewest), size, width)[:max_lines]


def _without_middle(text: str, num_kept: int) -> str:
    start = (num_kept + 1) // 2
    return f"{text[:start]}...{text[len(text) - num_kept // 2 :]}"


def fit(labels: Sequence[str], size: int, width: float, max_lines: int) -> int:
    """Return the largest size, `size` or less, at which all labels have room.

    Args:
        labels: each may have several lines.
        size: wanted, in pixels.
        width: of the room, in pixels.
        max_lines: that each line of a label may become.

    Returns:
        At least `MIN_TEXT`, whether or not there is room then.
    """
    # The longest decide; the others would only take time.
    lines = {line for label in labels for line in label.split("\n")}
    longest = sorted(lines, key=lambda line: (-len(line), line))[:8]
    fits, fails = MIN_TEXT, size + 1
    while fails - fits > 1:
        # The wanted size first: as a rule there is room.
        tried = size if fails > size else (fits + fails) // 2
        if all(len(_wrap_line(line, tried, width)) <= max_lines for line in longest):
            fits = tried
        else:
            fails = tried
    return fits


def draw_text(
    image: PILImage.Image,
    position: tuple[int, int],
    text: str,
    size: int,
    color: tuple[int, int, int],
) -> None:
    """Draw one line; `position` is its left upper corner, one line height is taken."""
    left, top = position
    top += (line_height(size) - size) // 2
    font = _font(size)
    if isinstance(font, ImageFont.FreeTypeFont):
        ImageDraw.Draw(image).text((left, top), text, fill=color, font=font)
        return
    # A bitmap font of one size: enlarged, so that it can be read.
    mask = PILImage.new("L", (max(1, round(font.getlength(text))), _bitmap_height()))
    ImageDraw.Draw(mask).text((0, 0), text, fill=255, font=font)
    scale = _enlargement(size)
    shape = round(mask.width * scale), round(mask.height * scale)
    image.paste(color, (left, top), mask.resize(shape, PILImage.Resampling.BICUBIC))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    # Pillow's wheels have FreeType; a build of one's own may not.
    if features.check("freetype2"):
        return ImageFont.load_default(size)
    return ImageFont.load_default()


@functools.cache
def _bitmap_height() -> int:
    return round(_font(MIN_TEXT).getbbox("Ag")[3])


def _enlargement(size: int) -> float:
    return size / _bitmap_height()
