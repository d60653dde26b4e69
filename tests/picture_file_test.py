"""Pictures of all kinds, read upright and encoded at one size."""

import errno
import io
import os
import re
import warnings

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest

from ssimbad_jax.data import picture_file
from tests import bad_pictures, random_pictures

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


def _frames(file_format, **options):
    second = PIL.Image.fromarray(random_pictures.pixels(1))
    return bad_pictures.encoded(file_format, save_all=True, append_images=[second], **options)


def _deep_png(channels):
    """A PNG of 16 bits a channel whose upper bytes are picture 0, opaque where it has alpha."""
    cv2 = pytest.importorskip("cv2")
    pixels = random_pictures.pixels(0).astype(np.uint16) * 257
    alpha = np.full((_SIZE, _SIZE, 1), 65535, np.uint16)
    pixels = np.concatenate([pixels[..., ::-1], alpha], axis=-1)[..., :channels]
    return cv2.imencode(".png", pixels)[1].tobytes()


def _exif(orientation):
    exif = PIL.Image.Exif()
    exif[274] = orientation
    return exif


@pytest.mark.parametrize(
    "make",
    [
        lambda: _deep_png(3),
        lambda: _deep_png(4),
        lambda: _frames("PNG"),
        lambda: _frames("TIFF"),
        lambda: _frames("AVIF", quality=100, subsampling="4:4:4"),
        lambda: bad_pictures.encoded("PPM"),
        lambda: bad_pictures.encoded("PNG", exif=_exif(0)),
        lambda: bad_pictures.encoded("PNG", exif=b"MM\0*\xff\xff\xff\xff"),
        lambda: bad_pictures.encoded("PNG", exif=b"no EXIF at all"),
        lambda: bad_pictures.encoded("PNG", icc_profile=b"x" * 1000),
        lambda: bad_pictures.encoded("PNG", icc_profile=np.random.bytes(300_000)),
    ],
    ids=[
        "16-bit RGB",
        "16-bit RGBA",
        "animated PNG",
        "TIFF of two pages",
        "animated AVIF",
        "PPM",
        "EXIF without sense",
        "EXIF cut off",
        "EXIF of noise",
        "colour profile of noise",
        "large colour profile",
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_unusual_files_are_read_right_whatever_their_ending(tmp_path, make):
    path = tmp_path / "picture.jpg"
    path.write_bytes(make())
    expected = random_pictures.pixels(0)
    tolerance = 6 if b"avif" in path.read_bytes()[:32] else 0
    np.testing.assert_allclose(_stored(path).astype(int), expected, atol=tolerance)
    # What is stored has 8 bits, one frame, and no more notes than pixels.
    kept = picture_file.encode_picture(path, _SIZE, "RGB")
    assert len(kept) < 70_000
    stored = PIL.Image.open(io.BytesIO(kept))
    assert getattr(stored, "n_frames", 1) == 1
    if stored.format == "PNG":
        assert kept[24] == 8


def test_inks_of_adobes_jpegs_are_not_inverted():
    smooth = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    smooth[..., 0], smooth[..., 2] = 240, np.arange(_SIZE) * 8
    inks = PIL.Image.fromarray(smooth).convert("CMYK")
    jpeg = bad_pictures.encoded("JPEG", inks, quality=100, subsampling=0)
    assert b"Adobe" in jpeg
    stored = np.asarray(picture_file.read_rgb(jpeg)).astype(int)
    np.testing.assert_allclose(stored, smooth, atol=4)
    again = PIL.Image.open(io.BytesIO(picture_file.encode_picture(jpeg, _SIZE, "RGB")))
    assert again.mode == "RGB"


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_a_fitting_file_is_kept_only_if_it_is_upright(file_format):
    pixels = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    pixels[: _SIZE // 2] = 255  # light above
    image = PIL.Image.fromarray(pixels)
    turned = bad_pictures.encoded(file_format, image, exif=_exif(3))
    kept = picture_file.encode_picture(turned, _SIZE, "RGB")
    assert kept != turned
    stored = np.asarray(PIL.Image.open(io.BytesIO(kept)))
    assert stored[:4].mean() < 5 < 250 < stored[-4:].mean()
    upright = bad_pictures.encoded(file_format, image, exif=_exif(1), icc_profile=b"x" * 500)
    assert picture_file.encode_picture(upright, _SIZE, "RGB") == upright


def test_black_and_white_are_exchanged_where_asked():
    grey = random_pictures.pixels(0)[..., 0]
    png = bad_pictures.encoded("PNG", PIL.Image.fromarray(grey))
    inverted = picture_file.encode_picture(png, _SIZE, "L", invert=True)
    np.testing.assert_array_equal(PIL.Image.open(io.BytesIO(inverted)), 255 - grey)


@pytest.mark.parametrize("name", bad_pictures.BAD_FILES)
def test_bad_files_say_what_is_wrong(tmp_path, name):
    path = tmp_path / name
    bad_pictures.BAD_FILES[name].make(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(picture_file.BadPictureError) as refusal:
            picture_file.read_rgb(path)
        assert re.search(bad_pictures.BAD_FILES[name].reason, str(refusal.value))
        assert "0x" not in str(refusal.value)  # no address in memory: reports are reproducible


def test_bombs_are_refused_before_they_are_decoded(monkeypatch):
    def decode(image):
        raise RuntimeError("decoded")

    monkeypatch.setattr(PIL.ImageFile.ImageFile, "load", decode)
    with pytest.raises(picture_file.BadPictureError, match="8193 x 8192 pixels, more than"):
        picture_file.read_rgb(bad_pictures.png_of_size(8193, 8192))
    with pytest.raises(picture_file.BadPictureError, match="unsupported: decoded"):
        picture_file.read_rgb(bad_pictures.png_of_size(16, 16))


def test_missing_permission_is_a_reason(tmp_path, monkeypatch):
    random_pictures.save(tmp_path / "secret.png", random_pictures.pixels(0))

    # Permission bits do not stop root.
    def refuse(path, flags):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(picture_file.BadPictureError, match="cannot be opened: Permission denied"):
        picture_file.read_rgb(tmp_path / "secret.png")


def test_lack_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(picture_file, "_flatten", fail)
    with pytest.raises(MemoryError):
        picture_file.read_rgb(bad_pictures.encoded())
