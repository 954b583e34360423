"""Broken and hostile pictures, each made of a seed: nothing of them lies in the repository. Knows no HTTP."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from random import Random

from PIL import Image, ImageDraw, PngImagePlugin

from benchmarks.environments import ROOT

SAMPLES = ("seven.png", "trouser.png", "three-on-paper.jpg", "digits-on-paper.jpg")
PNG_BEGIN = b"\x89PNG\r\n\x1a\n"
SIDES = (0, 1, 2, 7, 28, 255, 4_096, 8_000, 30_000, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
SAVED = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "GIF": ("P", "L", "1"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"),
}

Maker = Callable[[Random], bytes]


@cache
def samples() -> tuple[bytes, ...]:
    return tuple((ROOT / "samples" / name).read_bytes() for name in SAMPLES)


@cache
def saved() -> tuple[bytes, ...]:
    """One sound picture of each format and mode that is read."""
    drawn = Image.new("L", (40, 30))
    ImageDraw.Draw(drawn).line((8, 25, 20, 4, 32, 25), fill=255, width=4)
    files = []
    for form, modes in SAVED.items():
        for mode in modes:
            with io.BytesIO() as file:
                _as(drawn, mode).save(file, form)
                files.append(file.getvalue())
    return (*samples(), *files)


def _as(drawn: Image.Image, mode: str) -> Image.Image:
    """Gray does not become all of them at once."""
    if mode in ("CMYK", "YCbCr"):
        return drawn.convert("RGB").convert(mode)
    if mode == "LAB":
        return Image.merge("LAB", (drawn, drawn, drawn))
    return drawn.convert("I").convert(mode) if mode == "I;16" else drawn.convert(mode)


def flipped(random: Random, content: bytes) -> bytes:
    """Some bits of it are others."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 2, 8, 64)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def cut(random: Random, content: bytes) -> bytes:
    """Its beginning, its end, or without its middle."""
    first, second = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return random.choice((content[:first], content[first:], content[:first] + content[second:]))


def repeated(random: Random, content: bytes) -> bytes:
    first, second = sorted(random.randrange(len(content) + 1) for _ in range(2))
    piece = content[first:second][:4_096]
    return content[:first] + piece * random.choice((2, 3, 100)) + content[first:]


def lengthened(random: Random, content: bytes) -> bytes:
    """Some two or four bytes of it are a number that lengths and sizes stumble over."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        code = random.choice((">H", "<H", ">I", "<I"))
        size = struct.calcsize(code)
        if len(changed) > size:
            place = random.randrange(min(len(changed) - size, 300))
            changed[place : place + size] = struct.pack(code, random.choice(LENGTHS) % (1 << 8 * size))
    return bytes(changed)


def noise(random: Random) -> bytes:
    begin = random.choice(
        (b"", PNG_BEGIN, b"\xff\xd8\xff\xe0", b"GIF89a", b"II*\0", b"MM\0*", b"BM", b"RIFF    WEBPVP8 ")
    )
    return begin + random.randbytes(random.choice((0, 1, 16, 300, 5_000)))


def chunk(kind: bytes, content: bytes, length: int | None = None) -> bytes:
    """One of PNG's."""
    announced = len(content) if length is None else length
    return struct.pack(">I", announced) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_false_size(random: Random) -> bytes:
    """The header, with a right checksum, says another size, depth or colour than the data have."""
    size = random.choice(SIDES), random.choice(SIDES)
    kinds = random.choice((1, 2, 4, 8, 16, 3)), random.choice((0, 2, 3, 4, 6, 7)), 0, 0, random.choice((0, 1))
    header = struct.pack(">II5B", *size, *kinds)
    data = zlib.compress(bytes(random.choice((0, 28 * 29, 10_000))))
    return PNG_BEGIN + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def png_bomb(random: Random) -> bytes:
    """As many pixels as its header says, of nothing: kilobytes that become many megabytes."""
    side, (depth, colour, samples_of_pixel) = (
        random.choice((4_000, 7_900, 20_000)),
        random.choice(((1, 0, 1), (8, 0, 1), (8, 2, 3), (16, 0, 1), (16, 6, 4), (8, 3, 1))),
    )
    width, height = random.choice(((side, side), (side * 3, side // 3), (side // 4, side * 3)))
    row = 1 + (width * depth * samples_of_pixel + 7) // 8
    header = struct.pack(">II5B", width, height, depth, colour, 0, 0, random.choice((0, 0, 1)))
    palette = chunk(b"PLTE", bytes(random.choice((3, 768)))) if colour == 3 else b""
    return PNG_BEGIN + chunk(b"IHDR", header) + palette + chunk(b"IDAT", _zeros(row, height)) + chunk(b"IEND", b"")


@cache
def _zeros(row: int, height: int) -> bytes:
    packer, packed, left = zlib.compressobj(9), [], min(row * height, 300_000_000)
    while left:
        size = min(left, 1_000_000)
        packed.append(packer.compress(bytes(size)))
        left -= size
    return b"".join([*packed, packer.flush()])


def png_of_strange_chunks(random: Random) -> bytes:
    """What stands beside the picture: text that is inflated, profiles, EXIF, frames, lengths that lie."""
    bomb = zlib.compress(bytes(random.choice((10, 300_000, 50_000_000))))
    strange = [
        chunk(b"zTXt", b"Comment\0\0" + bomb),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + bomb),
        chunk(b"iCCP", b"profile\0\0" + bomb),
        chunk(b"tEXt", b"Comment\0" + b"x" * random.choice((0, 300_000))),
        chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0" + random.randbytes(4) + bytes(4)),
        chunk(b"acTL", struct.pack(">II", random.choice(LENGTHS), 0)),
        chunk(b"tRNS", random.randbytes(random.choice((0, 1, 2, 6, 300)))),
        chunk(b"PLTE", random.randbytes(random.choice((0, 1, 3, 900)))),
        chunk(b"gAMA", random.randbytes(random.choice((0, 4)))),
        chunk(b"pHYs", random.randbytes(random.choice((0, 9)))),
        chunk(b"IHDR", struct.pack(">II5B", 28, 28, 8, 0, 0, 0, 0)),
        chunk(b"IDAT", b""),
        chunk(random.randbytes(4), random.randbytes(20), random.choice((None, *LENGTHS))),
    ]
    sound = samples()[0]
    content = sound[33:]
    chosen = random.choices(strange, k=random.choice((1, 2, 40)))
    return sound[:33] + b"".join(chosen) + content


def jpeg(random: Random) -> bytes:
    """False sizes in the frame, many scans, segments that lie, comments without end, missing tables."""
    sound = samples()[2]
    frame = max(sound.find(b"\xff\xc0"), sound.find(b"\xff\xc2"))
    kinds = random.randrange(5)
    if kinds == 0:
        size = struct.pack(">HH", *[min(random.choice(SIDES), 65_535) for _ in range(2)])
        return sound[: frame + 5] + size + sound[frame + 9 :]
    if kinds == 1:
        scan = sound.find(b"\xff\xda")
        return sound[:scan] + sound[scan : scan + 300] * random.choice((2, 99, 500)) + sound[scan:]
    if kinds == 2:
        marker = random.choice((0xE0, 0xE1, 0xE2, 0xED, 0xFE, 0xDB, 0xC4, 0xDD))
        segment = struct.pack(">BBH", 0xFF, marker, random.choice((0, 1, 2, 20, 65_535))) + random.randbytes(40)
        return sound[:2] + segment * random.choice((1, 50)) + sound[2:]
    if kinds == 3:
        return sound[: random.randrange(len(sound))] + b"\xff\xd9" * random.choice((0, 1))
    return sound[:2] + b"\xff" * random.choice((1, 100, 500_000)) + sound[2:]


def gif(random: Random) -> bytes:
    """Animations, screens far larger than their frames, codes that end early."""
    size = random.choice((1, 28, 300))
    frames = [Image.new("P", (size, size), color) for color in range(random.choice((1, 3, 200)))]
    with io.BytesIO() as file:
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=10, optimize=False)
        made = bytearray(file.getvalue())
    if random.random() < 0.6:
        made[6:10] = struct.pack("<HH", *[min(random.choice(SIDES), 65_535) for _ in range(2)])
    return flipped(random, bytes(made)) if random.random() < 0.3 else bytes(made)


ENTRY = struct.Struct("<HHII")
TIFF_TAGS = (
    254,
    256,
    257,
    258,
    259,
    262,
    266,
    273,
    274,
    277,
    278,
    279,
    282,
    284,
    296,
    317,
    320,
    322,
    323,
    324,
    325,
    330,
)
MORE_TAGS = (338, 339, 347, 530, 532, 700, 33_723, 34_377, 34_665, 34_675, 34_853, 37_724, 50_838)


def tiff(random: Random) -> bytes:
    """Strange tags, types and counts; directories that go in circles; many frames; compressions and sizes that lie."""
    values = {256: 28, 257: 28, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 28, 279: 784}
    for _ in range(random.choice((0, 1, 3, 8))):
        values[random.choice(TIFF_TAGS + MORE_TAGS)] = random.choice(
            (*SIDES, 8, 16, 32, 5, 7, 8, 32_773, 32_946, 50_000)
        )
    entries = b"".join(
        ENTRY.pack(
            tag,
            random.choice((4, 4, 4, 3, 2, 1, 5, 7, 12, 13, 99)),
            random.choice((1, 1, 1, 0, 2, *LENGTHS)),
            value % 2**32,
        )
        for tag, value in sorted(values.items())
    )
    directory = struct.pack("<H", len(values)) + entries
    begin = 8 + 784
    frames = random.choice((1, 1, 2, 500))
    made = b"II*\0" + struct.pack("<I", begin) + random.randbytes(784)
    for frame in range(frames):
        after = begin + (frame + 1) * (len(directory) + 4)
        last = random.choice((0, 0, begin, 8, 2**32 - 1))
        made += directory + struct.pack("<I", after if frame < frames - 1 else last)
    return made


def long_and_thin(random: Random) -> bytes:
    size = random.choice(((65_535, 1), (1, 65_535), (65_535, 200), (3, 60_000), (65_536, 1)))
    form = random.choice(("PNG", "BMP", "TIFF", "GIF"))
    with io.BytesIO() as file:
        _wide(size).save(file, "PNG" if max(size) > 65_535 else form)
        return file.getvalue()


@cache
def _wide(size: tuple[int, int]) -> Image.Image:
    return Image.new("L", size, 200)


TEXTS = (
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='http://127.0.0.1:1/'/><script>alert(1)</script></svg>",
    b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><svg>&a;</svg>",
    b"<!doctype html><html><body onload=alert(1)>picture</body></html>",
    b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n(/etc/passwd) run\n",
    b"P5 99999999 99999999 255\n",
    b"PK\x03\x04" + bytes(40),
    b"#!/bin/sh\nexit 1\n",
    b"\0\0\0\x0cjP  \r\n\x87\n",
    b"\0\0\0\x1cftypavif",
)


def polyglot(random: Random) -> bytes:
    """A picture that is something else, too, or something else alone."""
    other, sound = random.choice(TEXTS), random.choice(saved())
    return random.choice((other, sound + other, other + sound, sound[:8] + other + sound[8:]))


def sound_but_odd(random: Random) -> bytes:
    return random.choice(saved())


def animated_png(random: Random) -> bytes:
    frames = [Image.new("L", (28, 28), color) for color in range(random.choice((2, 100)))]
    info = PngImagePlugin.PngInfo()
    info.add_text("key", "x" * random.choice((1, 100_000)))
    with io.BytesIO() as file:
        frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], pnginfo=info)
        return flipped(random, file.getvalue()) if random.random() < 0.5 else file.getvalue()


def _of_saved(change: Callable[[Random, bytes], bytes]) -> Maker:
    return lambda random: change(random, random.choice(saved()))


# What a picture is, with how often; bombs take the service longest.
PICTURES: dict[str, tuple[Maker, int]] = {
    "bits flipped": (_of_saved(flipped), 8),
    "cut": (_of_saved(cut), 6),
    "repeated": (_of_saved(repeated), 3),
    "lengths that lie": (_of_saved(lengthened), 8),
    "noise": (noise, 3),
    "PNG of a false size": (png_of_false_size, 4),
    "PNG bomb": (png_bomb, 1),
    "PNG of strange chunks": (png_of_strange_chunks, 4),
    "JPEG that lies": (jpeg, 5),
    "GIF": (gif, 4),
    "TIFF": (tiff, 8),
    "long and thin": (long_and_thin, 1),
    "polyglot": (polyglot, 4),
    "odd but sound": (sound_but_odd, 3),
    "animated PNG": (animated_png, 1),
}


def hostile_picture(random: Random) -> tuple[str, bytes]:
    """Its kind, and the file."""
    kind = random.choices(list(PICTURES), [weight for _, weight in PICTURES.values()])[0]
    return kind, PICTURES[kind][0](random)
