"""Plain functions from a `random.Random` and something good to something bad."""

import copy
import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any


LARGE = "A" * 6000
ESCAPE = "\x1b]0;owned\x07\x1b[2J"
HTML = '"><meta http-equiv="refresh" content="0;url=//evil.example">'
# Numbers and texts that a flag, a cell or a field may hold by mistake or on purpose.
TEXTS = (
    *("", " ", "-", "--", "0", "-0", "-1", "1", "2", "3", "0.5", "1e-9", "1e9"),
    "1e999",
    *("nan", "inf", "-inf", "NaN", "1e400", "0x10", "1_000", "٣", "½", "1,5", "512.0"),
    *("9" * 30, "9" * 5000, "-" + "9" * 30, "4294967295", "4294967296", "65536", "33"),
    *("0..3", "3..0", "0..99999999999", "..", "1..", "1,2,3", "1,,2", ",", ",,,", ";"),
    *("1:2:3", ":", "a:", ":1", "1/0", "1,0/0,1", "0,0", "1;2", "1x1", "40x", "x40"),
    *("none", "None", "null", "true", "yes", "no", "auto", "all", "map", "custom"),
    *("rest", "alpha", "image", "noise", "content", "style", "default", "draft"),
    *("relu1_1", "relu4_2", "relu1_1:nan", "relu1_1,relu1_1", "relu9_9", "relu1_1:-1"),
    *("relu1_1:1e308", "pool5", "gram", "gram:0", "grain", "grain,grain", "grain:2"),
    *("sharpen:1e9", "halftone", "vgg19", "vgg19@", "vgg19@main", "@main", "resnet50"),
    *("a/b/c@d", "vgg19.tv_in1k@refs/pr/1", "x.safetensors", "x.png", "no/x.png"),
    *("content.png", "style.png", "./content.png", ".", "..", "../x.png", "jobs.csv"),
    "~nobody/x.png",
    *("é.png", "\u202egnp.exe", "a\nb", "a\r\nb", "\t", ESCAPE, LARGE, "\ud800"),
    *("a\0b", "%s%n", "{}", "{0.__class__}", "=1+1", "+1", "@SUM(1)", HTML),
    *("<b id=x>", "'"),
    *("6G", "1e9G", "99999999999999T", "-1G", ".png", ".jpg", "png", ".exe", "a b"),
)
# Values of a JSON field, and of an argument of a function.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-320, 1e308, 10**30, -(10**30)),
    *(10**400, 2**31, 2**32, 2**63, 2**64, float("nan"), float("inf"), float("-inf")),
    *([], {}, [None], [[]], {"": None}, [1, 2], ["a"], {"a": 1}, [[1, 0], [0, 1]]),
    *([1e308] * 3, list(range(2000)), {"relu1_1": float("nan")}, {"relu1_1": "1"}),
    *({"relu1_1": [1]}, {"grain": 9}, {"grain": None}, {"grain": "x"}, ["grain", 1]),
    *({ESCAPE: ESCAPE}, {HTML: HTML}, {LARGE: 1}, [[[[[[[[1]]]]]]]], *TEXTS),
)


def nested(depth: int) -> list[Any]:
    """Return lists within lists."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


# Bytes


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """Return a file that was damaged somewhere, in one to three ways."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_BYTE_MUTATORS)(rng, bytearray(data))
    return data


def _flip(rng: random.Random, data: bytearray) -> bytes:
    for _ in range(rng.choice((1, 2, 8, 40))):
        if data:
            data[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _overwrite(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    length = min(rng.choice((1, 4, 32, 500)), len(data) - start)
    data[start : start + length] = rng.choice((b"\0", b"\xff", b"A")) * length
    return bytes(data)


def _field(rng: random.Random, data: bytearray) -> bytes:
    """Let a number in a header lie."""
    form = rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(form)
    top = 256**size - 1
    value = rng.choice(
        (0, 1, 2, 255, top // 2, top // 2 + 1, top - 1, top, 9000, 65535)
    )
    if len(data) > size:
        start = min(_place(rng, data), len(data) - size)
        struct.pack_into(form, data, start, value & top)
    return bytes(data)


def _truncate(rng: random.Random, data: bytearray) -> bytes:
    return bytes(data[: rng.choice((0, 1, 7, 8, rng.randrange(len(data) + 1)))])


def _cut(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    del data[start : start + rng.choice((1, 2, 16, 300))]
    return bytes(data)


def _repeat(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    part = data[start : start + rng.choice((1, 8, 64, 512))]
    return bytes(data[:start] + part * rng.choice((1, 2, 50)) + data[start:])


def _insert(rng: random.Random, data: bytearray) -> bytes:
    start = _place(rng, data)
    return bytes(data[:start]) + rng.randbytes(rng.choice((1, 3, 64))) + data[start:]


def _append(rng: random.Random, data: bytearray) -> bytes:
    return bytes(data) + rng.choice((b"\0" * 4096, b"\xff\xd9", bytes(data), b"<html>"))


_BYTE_MUTATORS: tuple[Callable[[random.Random, bytearray], bytes], ...] = (
    *(_flip, _overwrite, _field, _field, _truncate, _cut, _repeat, _insert, _append),
)


def _place(rng: random.Random, data: bytearray) -> int:
    """Return a place in the file, as a rule near its start."""
    return rng.randrange(max(1, min(len(data), rng.choice((32, 128, 1024, 10**9)))))


# Pictures


def mutate_picture(rng: random.Random, data: bytes) -> bytes:
    """Return a picture file with wrong bytes, or with wrong parts and right sums."""
    by_parts = {
        b"\x89PNG": _mutate_png,
        b"\xff\xd8\xff\xe0": _mutate_jpeg,
        b"\xff\xd8\xff\xe1": _mutate_jpeg,
        b"II*\0": _mutate_tiff,
    }.get(data[:4])
    if by_parts is not None and rng.random() < 0.6:
        try:
            return by_parts(rng, data)
        except (struct.error, IndexError, ValueError):
            pass
    return mutate_bytes(rng, data)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Return the (type, content) of all chunks."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file whose sums are right, whatever it holds."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, content in chunks:
        parts += [struct.pack(">I", len(content)), kind, content]
        parts.append(struct.pack(">I", zlib.crc32(kind + content)))
    return b"".join(parts)


def png_text(text: str, key: bytes = b"jaxnst") -> tuple[bytes, bytes]:
    """Return a chunk of text, as it is or compressed."""
    return b"tEXt", key + b"\0" + text.encode("latin-1", "replace")


def _mutate_png(rng: random.Random, data: bytes) -> bytes:
    chunks = png_chunks(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        index = rng.randrange(len(chunks))
        kind, content = chunks[index]
        way = rng.randrange(7)
        if way == 0:
            del chunks[index]
        elif way == 1:
            chunks.insert(rng.randrange(len(chunks)), chunks[index])
        elif way == 2:
            rng.shuffle(chunks)
        elif way == 3:
            chunks[index] = kind, mutate_bytes(rng, content)
        elif way == 4:
            chunks[index] = rng.choice(_PNG_KINDS), content
        elif way == 5:
            chunks.insert(rng.randrange(1, len(chunks) + 1), _odd_chunk(rng))
        else:
            chunks[0] = b"IHDR", _lying_header(rng, chunks[0][1])
        if not chunks:
            break
    return join_png(chunks)


_PNG_KINDS = (
    *(b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"eXIf", b"gAMA", b"acTL", b"fcTL", b"fdAT"),
    *(b"zTXt", b"iTXt", b"tEXt", b"sRGB", b"cHRM", b"pHYs", b"IEND", b"aaAa"),
    b"\0\0\0\0",
)


def _odd_chunk(rng: random.Random) -> tuple[bytes, bytes]:
    bomb = zlib.compress(b"A" * rng.choice((10, 10**5, 2 * 10**6)))
    return rng.choice(
        (
            (b"zTXt", b"jaxnst\0\0" + bomb),
            (b"zTXt", b"jaxnst\0\7" + bomb),
            (b"iTXt", b"jaxnst\0\1\0\0\0" + bomb),
            (b"iCCP", b"x\0\0" + bomb),
            (b"iCCP", b"x\0\0" + zlib.compress(rng.randbytes(200))),
            (b"tRNS", rng.randbytes(rng.choice((0, 1, 2, 6, 300)))),
            (b"PLTE", rng.randbytes(rng.choice((0, 3, 4, 768, 900)))),
            (b"gAMA", struct.pack(">I", rng.choice((0, 1, 45455, 2**31, 2**32 - 1)))),
            (b"eXIf", rng.choice((b"", b"II*\0", b"MM\0*" + b"\xff" * 40))),
            (b"acTL", struct.pack(">II", rng.choice((0, 1, 2**31)), 0)),
            (b"pHYs", b"\0" * rng.choice((0, 9))),
            (b"cHRM", b"\0" * rng.choice((0, 32))),
        )
    )


def _lying_header(rng: random.Random, header: bytes) -> bytes:
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    side = rng.choice((0, 1, 31, 33, 500, 9000, 70000, 2**31 - 1, 2**32 - 1))
    if rng.random() < 0.6:
        width, height = rng.choice(((side, height), (width, side), (side, side)))
    else:
        rest[rng.randrange(5)] = rng.choice((0, 1, 2, 3, 4, 6, 7, 8, 16, 255))
    return struct.pack(">IIBBBBB", width, height, *rest)


def _mutate_jpeg(rng: random.Random, data: bytes) -> bytes:
    segments, at = [], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        segments.append(bytearray(data[at : at + 2 + length]))
        at += 2 + length
    rest = data[at:]
    index = rng.randrange(len(segments))
    way = rng.randrange(6)
    if way == 0:
        del segments[index]
    elif way == 1:
        segments.insert(rng.randrange(len(segments)), segments[index])
    elif way == 2:
        content = mutate_bytes(rng, bytes(segments[index][4:]))[:65533]
        head = struct.pack(">H", len(content) + 2)
        segments[index] = segments[index][:2] + head + content
    elif way == 3:
        marker = rng.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4))
        body = rng.choice((b"", b"Exif\0\0II*\0\xff\xff\xff\xff", b"ICC_PROFILE\0\1\2"))
        extra = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
        segments[1:1] = [bytearray(extra)] * rng.choice((1, 3, 300, 3000))
    elif way == 4:  # lying sides, of the frame's header
        for segment in segments:
            if segment[1] in (0xC0, 0xC1, 0xC2):
                side = rng.choice((0, 1, 31, 500, 9000, 65535))
                struct.pack_into(">H", segment, rng.choice((5, 7)), side)
    else:
        rest = mutate_bytes(rng, rest)
    return data[:2] + b"".join(segments) + rest


def _mutate_tiff(rng: random.Random, data: bytes) -> bytes:
    """Change a field of a directory: its tag, type, count or value."""
    found = bytearray(data)
    (start,) = struct.unpack_from("<I", found, 4)
    (count,) = struct.unpack_from("<H", found, start)
    entry = start + 2 + 12 * rng.randrange(count)
    way = rng.randrange(5)
    extremes = (0, 1, 2, 3, 9, 255, 9000, 65535, 2**31 - 1, 2**32 - 1, start)
    if way == 0:
        tags = (254, 256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 338, 34675)
        struct.pack_into("<H", found, entry, rng.choice(tags))
    elif way == 1:
        struct.pack_into(
            "<H", found, entry + 2, rng.choice((0, 1, 2, 3, 5, 12, 13, 99))
        )
    elif way == 2:
        struct.pack_into("<I", found, entry + 4, rng.choice(extremes))
    elif way == 3:
        struct.pack_into("<I", found, entry + 8, rng.choice(extremes))
    else:  # the next directory: itself, or nowhere
        struct.pack_into("<I", found, start + 2 + 12 * count, rng.choice(extremes))
    return bytes(found)


def bomb(rng: random.Random) -> bytes:
    """Return a small file that unpacks to a large picture, or says that it does."""
    side = rng.choice((300, 1000, 2000, 4000, 9400, 9500, 30000, 70000))
    way = rng.randrange(6)
    if way in (0, 1) and side <= 9400:
        rows = (b"\0" + b"\x80" * side) * side
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        return join_png(chunks)
    if way == 2:
        return b"P5\n%d %d\n255\n" % (side, side) + b"\x80" * 1000
    if way == 3:
        sides = struct.pack("<HH", side & 65535, side & 65535)
        return (
            b"GIF89a" + sides + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0" + sides + b"\0"
        )
    if way == 4:
        head = struct.pack("<IIiiHHIIiiII", 40, 0, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
        return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54) + head[8:] + b"\0" * 99
    header = struct.pack(">IIBBBBB", side, side, 16, 6, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")]
    return join_png(chunks)


# Records and other JSON


def mutate_json(rng: random.Random, document: Any, values: tuple[Any, ...]) -> Any:
    """Return a document with some fields replaced, removed, added or renamed."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        way = rng.randrange(10)
        if way == 0:
            del holder[key]
        elif way == 1:
            holder[key] = [holder[key]]
        elif way == 2 and isinstance(holder, dict):
            name = rng.choice((ESCAPE, HTML, "", LARGE, "\u202e", "=1", "x"))
            holder[name] = holder.pop(key)
        elif way == 3:
            holder[key] = nested(rng.choice((3, 60)))
        elif way == 4 and isinstance(holder[key], str):
            holder[key] += rng.choice(TEXTS)
        else:
            holder[key] = copy.deepcopy(rng.choice(values))
    return document


def _places(document: Any):
    """Yield (holder, key) of every value."""
    if isinstance(document, dict):
        items = list(document.items())
    elif isinstance(document, list):
        items = list(enumerate(document))
    else:
        return
    for key, value in items:
        yield document, key
        yield from _places(value)


def json_text(rng: random.Random, document: Any) -> str:
    """Return a document as text, sometimes as no JSON."""
    text = json.dumps(document)
    if rng.random() < 0.05:
        text = mutate_bytes(rng, text.encode()).decode("latin-1")
    if rng.random() < 0.01:
        text = text.replace("null", "[" * 20000 + "]" * 20000, 1)
    return text
