"""One picture file: any format in, upright 8-bit RGB of one size out."""

import io
import os
import pathlib
import stat
import struct

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps

# Pillow knows more, but some of those start other programs: EPS runs Ghostscript.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
MAX_PIXELS = 2**26  # 8192 x 8192, 256 MiB as RGBA; Pillow itself warns from 2^26.4 on
MAX_BYTES = 8 * MAX_PIXELS  # a file of so many pixels with 16 bits a channel and alpha
_MAX_METADATA = 2**16  # bytes of profile and notes beside the pixels of a file kept as it is

# What each value of the EXIF tag asks of the reader (EXIF 2.3, tag 274); 1 is upright.
_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}


class BadPictureError(ValueError):
    """A file cannot be read as a picture; the message says why, without its name."""


def read_bytes(path: pathlib.Path) -> bytes:
    """Reads a picture's file whole.

    Raises:
        BadPictureError: it cannot be opened, is no regular file, empty, or too large.
    """
    try:
        # Not blocking: a named pipe is to be an error, not a wait without end.
        with open(path, "rb", opener=lambda name, how: os.open(name, how | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadPictureError("no regular file, but a pipe, device or folder")
            if status.st_size > MAX_BYTES:
                raise BadPictureError(f"{status.st_size} bytes, more than {MAX_BYTES}")
            data = file.read()
    except OSError as error:
        broken = os.path.islink(path) and not os.path.exists(path)
        raise BadPictureError(
            f"{'a broken link' if broken else 'cannot be opened'}: {error.strerror}"
        ) from error
    if not data:
        raise BadPictureError("empty (0 bytes)")
    return data


def read_rgb(source: pathlib.Path | bytes) -> PIL.Image.Image:
    """Reads any picture as 8-bit RGB: upright, transparency laid on white.

    Animations and files of many pages give their first picture; 16-bit grey is scaled, not
    cut off. Colour profiles are passed over: pixels are taken as sRGB. The name's ending
    is of no matter.

    Args:
        source: the file, or what is in it.

    Raises:
        BadPictureError: it is unreadable, damaged, or has more than `MAX_PIXELS`.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    try:
        return _flatten(_decode(data))
    except PIL.UnidentifiedImageError as error:
        raise BadPictureError(f"in none of the formats {', '.join(FORMATS)}") from error
    except (BadPictureError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise BadPictureError(f"damaged or unsupported: {error}") from error


def encode_picture(
    source: pathlib.Path | bytes, size: int, mode: str, *, invert: bool = False
) -> bytes:
    """Returns a picture as encoded bytes of `size` x `size` pixels.

    The largest centred square is cut out and resized with an antialiasing filter
    (Lanczos). A JPEG or PNG that already is what is asked for, 8-bit, upright and opaque, is
    returned as it is, undecoded: that its pixels are whole is for `read_rgb` to tell.

    Args:
        source: the file, or what is in it.
        size: height and width in pixels.
        mode: "RGB", or "L" for grey.
        invert: exchange black and white.

    Raises:
        BadPictureError: see `read_rgb`.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not invert and _is_encoded(data, size, mode):
        return data
    picture = read_rgb(data).convert(mode)
    square = PIL.ImageOps.fit(picture, (size, size), PIL.Image.Resampling.LANCZOS)
    if invert:
        square = PIL.ImageOps.invert(square)
    square.info.clear()  # else a colour profile, maybe larger than the pixels, is stored, too
    buffer = io.BytesIO()
    square.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _open(data: bytes) -> PIL.Image.Image:
    """Reads a picture's head; its pixels are decoded at their first use."""
    return PIL.Image.open(io.BytesIO(data), formats=FORMATS)


def _decode(data: bytes) -> PIL.Image.Image:
    """Returns the first picture of a file, upright, in the file's own mode."""
    with _open(data) as image:
        if image.width * image.height > MAX_PIXELS:
            raise BadPictureError(
                f"{image.width} x {image.height} pixels, more than {MAX_PIXELS} in all"
            )
        if image.format == "PNG":
            image.verify()  # checksums, which decoding passes over
    with _open(data) as image:
        image.load()
        turn = _TURNS.get(_orientation(image))
        return image.transpose(turn) if turn is not None else image.copy()


def _orientation(image: PIL.Image.Image) -> int:
    try:
        return image.getexif().get(PIL.ExifTags.Base.Orientation, 1)
    except (SyntaxError, struct.error):
        return 1  # a damaged block tells nothing, and the pixels are whole


def _flatten(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Returns a picture of any mode as RGB, on white."""
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
            raise BadPictureError(
                f"{values.min()} to {values.max()} are not grey values of 16 bits"
            )
        picture = PIL.Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def _is_encoded(data: bytes, size: int, mode: str) -> bool:
    """Tells whether a file may be stored as it is."""
    if len(data) > size * size * len(mode) + _MAX_METADATA:
        return False
    try:
        with _open(data) as image:
            if image.format not in ("JPEG", "PNG") or (image.mode, image.size) != (
                mode,
                (size, size),
            ):
                return False
            # Byte 24 of a PNG says its depth; Pillow would give 8 bits of 16, others 16.
            plain = image.format == "JPEG" or (
                data[24] == 8 and not getattr(image, "is_animated", False)
            )
            return plain and not image.has_transparency_data and _orientation(image) == 1
    except PIL.UnidentifiedImageError:
        return False  # `read_rgb` says so
