"""Files that are no use as pictures, and what is said about each."""

import io
import os
import pathlib
import stat
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import PIL.Image
import PIL.PngImagePlugin

from ssimbad_jax.data import picture_file
from tests import random_pictures


class BadFile(NamedTuple):
    """How to make a file, and a pattern of the reason it is left out for."""

    make: Callable[[pathlib.Path], object]
    reason: str


def encoded(file_format="PNG", image=None, **options):
    """Returns a random picture, or the one given, as a file's bytes."""
    buffer = io.BytesIO()
    image = image or PIL.Image.fromarray(random_pictures.pixels(0))
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def png_of_size(width, height):
    """Returns a PNG that says it is so large, with next to nothing in it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _bytes(data):
    return lambda path: path.write_bytes(data)


def _cut(file_format):
    data = encoded(file_format)
    return BadFile(_bytes(data[: len(data) * 2 // 3]), "damaged or unsupported|none of the formats")


def _flipped_bit():
    data = bytearray(encoded(compress_level=0))
    data[len(data) // 2] ^= 1
    return bytes(data)


def _too_large(path):
    with path.open("wb") as file:
        file.truncate(picture_file.MAX_BYTES + 1)  # a hole: it takes no space


def _with_text(length):
    text = PIL.PngImagePlugin.PngInfo()
    text.add_text("comment", "a" * length, zip=True)
    return encoded(pnginfo=text)


def _tiff(values):
    return _bytes(encoded("TIFF", PIL.Image.fromarray(values)))


_EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n"

BAD_FILES = {
    "empty.png": BadFile(_bytes(b""), r"empty \(0 bytes\)"),
    "text.png": BadFile(_bytes(b"no picture"), "in none of the formats JPEG, PNG"),
    "page.jpg": BadFile(_bytes(b"<html>404 Not Found</html>"), "in none of the formats"),
    "program.png": BadFile(_bytes(_EPS), "in none of the formats"),
    **{
        f"cut_{name.lower()}.png": _cut(name)
        for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
    },
    "flipped.png": BadFile(_bytes(_flipped_bit()), "damaged or unsupported: .*checksum"),
    "bomb.png": BadFile(_bytes(png_of_size(9000, 9000)), "9000 x 9000 pixels, more than 67108864"),
    "bigger_bomb.png": BadFile(_bytes(png_of_size(60_000, 60_000)), "decompression bomb"),
    "text_bomb.png": BadFile(_bytes(_with_text(2**21)), "Decompressed data too large"),
    "large.png": BadFile(_too_large, "536870913 bytes, more than 536870912"),
    "float.tiff": BadFile(
        _tiff(np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)), "grey values of 16 bits"
    ),
    "deep.tiff": BadFile(_tiff(np.full((16, 16), 70_000, np.int32)), "grey values of 16 bits"),
    "negative.tiff": BadFile(_tiff(np.full((16, 16), -1, np.int32)), "grey values of 16 bits"),
    "broken_link.png": BadFile(lambda path: path.symlink_to("nowhere"), "a broken link: No such"),
    "circle.png": BadFile(lambda path: path.symlink_to(path), "link: Too many levels"),
    "pipe.png": BadFile(os.mkfifo, "no regular file"),
    "socket.png": BadFile(lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "cannot be opened"),
    "device.png": BadFile(lambda path: path.symlink_to(os.devnull), "no regular file"),
}
