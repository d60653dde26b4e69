"""Pictures of all kinds, read upright and encoded at one size."""

import io

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import picture_file
from tests import random_pictures

_SIZE = random_pictures.SIZE


def _stored(path, size=_SIZE, mode="RGB"):
    """The pixels that end up in the data set."""
    encoded = picture_file.encode_picture(path, size, mode)
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def test_kinds_of_pictures_become_8_bit_rgb(tmp_path):
    colour = random_pictures.pixels(0)
    grey = colour[..., 0]
    rgb = PIL.Image.fromarray(colour)
    repeated = np.repeat(grey[..., None], 3, axis=-1)

    PIL.Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(_stored(tmp_path / "grey.png"), repeated)

    palette = rgb.quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(_stored(tmp_path / "palette.png"), palette.convert("RGB"))

    bits = PIL.Image.fromarray(grey).convert("1")
    bits.save(tmp_path / "bits.png")
    np.testing.assert_array_equal(_stored(tmp_path / "bits.png"), bits.convert("RGB"))

    inks = rgb.convert("CMYK")
    inks.save(tmp_path / "inks.tiff")
    np.testing.assert_array_equal(_stored(tmp_path / "inks.tiff"), inks.convert("RGB"))

    PIL.Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(_stored(tmp_path / "deep.png"), repeated)
    assert _stored(tmp_path / "deep.png", mode="L").shape == grey.shape

    frames = [rgb, PIL.Image.fromarray(random_pictures.pixels(1))]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    np.testing.assert_array_equal(_stored(tmp_path / "moving.webp"), colour)


def test_transparency_is_laid_on_white(tmp_path):
    colour = random_pictures.pixels(0)
    alpha = np.full(colour.shape[:2], 255, np.uint8)
    alpha[:8] = 0
    alpha[8:10] = 128
    pixels = np.concatenate([colour, alpha[..., None]], axis=-1)
    PIL.Image.fromarray(pixels).save(tmp_path / "alpha.png")
    stored = _stored(tmp_path / "alpha.png").astype(np.float64)
    share = alpha[..., None] / 255
    np.testing.assert_allclose(stored, share * colour + (1 - share) * 255, atol=1)

    # A palette and an RGB picture may declare one colour transparent.
    two_colours = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    two_colours[:8] = (255, 0, 0)
    PIL.Image.fromarray(two_colours).save(tmp_path / "key.png", transparency=(255, 0, 0))
    palette = PIL.Image.fromarray(two_colours).quantize(2)
    red = int(np.asarray(palette)[0, 0])
    palette.save(tmp_path / "key.gif", transparency=red)
    for name in ("key.png", "key.gif"):
        stored = _stored(tmp_path / name)
        assert (stored[:8] == 255).all()
        assert (stored[8:] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    upright = random_pictures.pixels(0)
    # What each value asks of the reader (EXIF 2.3, tag 274), undone.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = PIL.Image.Exif()
    exif[274] = orientation
    random_pictures.save(tmp_path / "turned.png", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_array_equal(_stored(tmp_path / "turned.png"), upright)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 100), (91, 64), (40, 8)])
def test_the_centre_is_cut_out_and_resized_with_antialiasing(tmp_path, height, width):
    # A ramp keeps its values under any interpolation; the checkerboard of one pixel
    # becomes even grey only where all pixels are averaged.
    side = min(height, width)
    ramp = np.broadcast_to(np.linspace(0, 255, width), (height, width))
    board = np.indices((height, width)).sum(axis=0) % 2 * 255.0
    pixels = np.stack([ramp, board, ramp], axis=-1).astype(np.uint8)
    random_pictures.save(tmp_path / "picture.png", pixels)
    stored = _stored(tmp_path / "picture.png").astype(np.float64)
    left = (width - side) / 2
    centres = left + (np.arange(_SIZE) + 0.5) * side / _SIZE - 0.5
    expected = np.clip(centres, 0, width - 1) * 255 / (width - 1)
    tolerance = 2 if side > _SIZE else 4  # enlarged, Lanczos bends a steep ramp a little
    np.testing.assert_allclose(stored[8, 2:-2, 0], expected[2:-2], atol=tolerance)
    if side > 2 * _SIZE:
        np.testing.assert_allclose(stored[2:-2, 2:-2, 1], 127.5, atol=4)


def test_a_fitting_jpeg_keeps_its_bytes(tmp_path):
    random_pictures.save(tmp_path / "fits.jpg", random_pictures.pixels(0), quality=90)
    assert (
        picture_file.encode_picture(tmp_path / "fits.jpg", _SIZE, "RGB")
        == (tmp_path / "fits.jpg").read_bytes()
    )
    assert _stored(tmp_path / "fits.jpg", mode="L").ndim == 2


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16),
        np.full((16, 16), 70_000, np.int32),
        np.full((16, 16), -1, np.int32),
    ],
    ids=["float", "large", "negative"],
)
def test_grey_beyond_16_bits_is_refused(tmp_path, values):
    PIL.Image.fromarray(values).save(tmp_path / "grey.tiff")
    with pytest.raises(ValueError, match="are not grey values of 16 bits"):
        picture_file.read_rgb(tmp_path / "grey.tiff")


def test_damaged_files_raise(tmp_path):
    random_pictures.save(tmp_path / "whole.png", random_pictures.pixels(0))
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    with pytest.raises(OSError, match="truncated"):
        picture_file.read_rgb(tmp_path / "half.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PIL.UnidentifiedImageError):
        picture_file.encode_picture(tmp_path / "text.png", _SIZE, "RGB")
