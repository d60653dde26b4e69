"""One picture file: any format in, upright 8-bit RGB of one size out."""

import io
import pathlib

import numpy as np
import PIL.ExifTags
import PIL.Image
import PIL.ImageOps


def read_rgb(path: pathlib.Path) -> PIL.Image.Image:
    """Reads any picture as 8-bit RGB: upright, transparency laid on white.

    Animations give their first frame; 16-bit grey is scaled, not cut off. Damaged files
    raise exceptions of nearly any type, as Pillow's decoders do.
    """
    with PIL.Image.open(path) as image:
        image.load()
        picture = PIL.ImageOps.exif_transpose(image)
    if picture.mode.startswith(("I", "F")):
        values = np.asarray(picture)
        if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
            raise ValueError(f"{values.min()} to {values.max()} are not grey values of 16 bits")
        picture = PIL.Image.fromarray(((values.astype(np.int64) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture)
    return picture.convert("RGB")


def encode_picture(path: pathlib.Path, size: int, mode: str) -> bytes:
    """Returns a picture as encoded bytes of `size` x `size` pixels.

    The largest centred square is cut out and resized with an antialiasing filter
    (Lanczos). A JPEG or PNG that already has `size` and `mode` ("RGB", or "L" for grey)
    is returned as it is.
    """
    with PIL.Image.open(path) as image:
        upright = image.getexif().get(PIL.ExifTags.Base.Orientation, 1) == 1
        plain = image.format in ("JPEG", "PNG") and not image.has_transparency_data
        if upright and plain and (image.mode, image.size) == (mode, (size, size)):
            return path.read_bytes()
    picture = read_rgb(path).convert(mode)
    square = PIL.ImageOps.fit(picture, (size, size), PIL.Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    square.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
