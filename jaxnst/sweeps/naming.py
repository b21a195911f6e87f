"""Names of picture files: readable, and allowed wherever the folder may be taken."""

import re
import unicodedata

from .members import Member


MAX_LENGTH = 120
# Names are limited in bytes on most file systems, to 255; temporary ones are longer.
MAX_BYTES = 200
# What Windows refuses, what shells and addresses take for something else.
_REFUSED = frozenset("<>:\"/\\|?*%#&;'`$!^{}[]")
# Of pictures that are values of an axis; `style-wave.jpg.png` would be odd.
_PICTURE = re.compile(r"\.(jpe?g|png|webp|tiff?|bmp|gif|ppm)$", re.IGNORECASE)


def make_file_name(member: Member, num_digits: int, extension: str) -> str:
    """Return `03_style_weight-3_seed-1.png`.

    Args:
        member: whose picture it is; by its index no two are alike.
        num_digits: of the index.
        extension: with its dot.
    """
    start = f"{member.index:0{num_digits}}"
    parts = [
        (_clean(name), _clean(_PICTURE.sub("", label)))
        for name, label in member.labels.items()
    ]
    room = MAX_LENGTH - len(extension)
    longest = min(MAX_LENGTH, max((len(label) for _, label in parts), default=0))
    while True:
        stem = "_".join(
            [start, *(f"{name}-{_cut(label, longest)}" for name, label in parts)]
        )
        is_short = len(stem) <= room and len(stem.encode()) + 8 <= MAX_BYTES
        if is_short or longest <= 1:
            break
        longest -= 1
    stem = stem[:room].encode()[: MAX_BYTES - 8].decode(errors="ignore")
    return stem.rstrip(" .-_") + extension


def _clean(text: str) -> str:
    cleaned = ""
    for char in unicodedata.normalize("NFC", text):
        # Control, format, surrogate, private and unassigned; separators.
        is_safe = char not in _REFUSED and unicodedata.category(char)[0] not in "CZ"
        if is_safe or not cleaned.endswith("-"):
            cleaned += char if is_safe else "-"
    return cleaned.rstrip(".-") or "x"


def _cut(label: str, length: int) -> str:
    """Keep beginning and end, which tell more than the middle."""
    if len(label) <= length:
        return label
    if length < 6:
        return label[:length]
    end = (length - 1) // 3
    return f"{label[: length - 1 - end]}~{label[len(label) - end :]}"
