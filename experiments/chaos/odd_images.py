"""Damaged and odd images, as folders of them hold."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

UNREADABLE: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "empty": lambda *_: b"",
    "start of a JPEG": lambda jpeg, _: jpeg[:20],
    "text": lambda *_: b"these are not the pixels",
    "web page": lambda *_: b"<!DOCTYPE html><html><body>404</body></html>",
    "LFS pointer": lambda *_: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "noise": lambda _, rng: rng.bytes(500),
    "zeros": lambda *_: bytes(4096),
    "zip": lambda *_: b"PK\x03\x04" + bytes(60),
}
PERHAPS: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "cut short": lambda jpeg, rng: jpeg[: int(rng.integers(len(jpeg) // 2, len(jpeg)))],
    "flipped bits": lambda jpeg, rng: flipped(jpeg, rng),
    "more after the end": lambda jpeg, rng: jpeg + rng.bytes(100),
}
"""May be readable or not: as long as nothing fails, either will do."""


def flipped(jpeg: bytes, rng: np.random.Generator) -> bytes:
    content = bytearray(jpeg)
    for place in rng.integers(len(content), size=3):
        content[place] ^= 1 << int(rng.integers(8))
    return bytes(content)


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _rotated(picture: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _encoded(picture, "JPEG", exif=exif)


READABLE: dict[str, tuple[str, Callable[[Image.Image], bytes]]] = {
    "BMP": (".bmp", lambda p: _encoded(p, "BMP")),
    "WebP": (".webp", lambda p: _encoded(p, "WEBP")),
    "TIFF": (".tiff", lambda p: _encoded(p, "TIFF")),
    "PNG": (".PNG", lambda p: _encoded(p, "PNG")),
    "PNG by the name of a JPEG": (".jpg", lambda p: _encoded(p, "PNG")),
    "progressive": (".jpeg", lambda p: _encoded(p, "JPEG", progressive=True)),
    "rotated by EXIF": (".jpg", _rotated),
    "palette": (".png", lambda p: _encoded(p.convert("P"), "PNG")),
    "two colours": (".png", lambda p: _encoded(p.convert("1"), "PNG")),
    "with alpha": (".png", lambda p: _encoded(p.convert("LA"), "PNG")),
    "CMYK": (".jpg", lambda p: _encoded(p.convert("CMYK"), "JPEG")),
    "long": (".png", lambda p: _encoded(p.resize((600, 8)), "PNG")),
    "large": (".jpg", lambda p: _encoded(p.resize((900, 700)), "JPEG")),
    "GIF": (".gif", lambda p: _encoded(p, "GIF")),
}
NAMES = ("{i} with spaces", "{i}é", "{i}#%?&", "-{i}", "{i}.copy")


def spoil(data: Path, count: int, rng: np.random.Generator) -> tuple[set[str], set[str]]:
    """Replace `count` images; returns the names of those that cannot and that can be read."""
    files = sorted(data.rglob("*.jpg"))
    kinds = [*UNREADABLE, *PERHAPS, *READABLE]
    unreadable, readable = set(), set()
    for i, place in enumerate(rng.choice(len(files), count, replace=False)):
        file, kind = files[place], kinds[i % len(kinds)]
        content = file.read_bytes()
        if kind in READABLE:
            suffix, encode = READABLE[kind]
            picture = Image.open(io.BytesIO(content))
            name = NAMES[int(rng.integers(len(NAMES)))].format(i=i) + suffix
            file.unlink()
            (file.parent / name).write_bytes(encode(picture))
            readable.add(name)
        elif kind in UNREADABLE:
            file.write_bytes(UNREADABLE[kind](content, rng))
            unreadable.add(file.name)
        else:
            file.write_bytes(PERHAPS[kind](content, rng))
    return unreadable, readable
