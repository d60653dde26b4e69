"""Drawings on paper of all kinds become the sketches of training."""

import io

import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from ssimbad_jax.data import conditions, line_art, sketch
from ssimbad_jax.data.toy_faces import drawing as toy_drawing
from tests import drawings

# Compiling takes most of the time.
pytestmark = pytest.mark.usefixtures("quick_compilation")

_PLAIN = drawings.pixels(drawings.face())
_GENERATOR = np.random.default_rng(0)


def _light():
    """Falls from the upper left to a half at the lower right."""
    height, width, _ = _PLAIN.shape
    y, x = np.mgrid[:height, :width] / [[[height]], [[width]]]
    return (1 - 0.25 * (x + y))[..., None]


PAPERS = {
    "white": _PLAIN,
    "yellow": _PLAIN * [1.0, 0.9, 0.6],
    "grey": 0.6 * _PLAIN,
    "red pencil": 1 - (1 - _PLAIN) * [0.3, 0.8, 0.8],
    "faint pencil": 1 - 0.25 * (1 - _PLAIN),
    "lamp at a corner": _PLAIN * _light() * [1.0, 0.95, 0.8],
    "grain": 0.9 * _PLAIN + 0.02 * _GENERATOR.standard_normal(_PLAIN.shape),
}


def _clean(drawing, inverted=False):
    return line_art.line_layer(line_art.flatten(drawing, inverted))


def _ink(lines):
    return np.asarray(lines) < 128


@pytest.mark.parametrize("paper", PAPERS)
def test_the_lines_are_the_same_on_every_paper(paper):
    drawing = drawings.picture(PAPERS[paper])
    assert not line_art.is_light_on_dark(drawing)
    lines = _clean(drawing)
    assert lines.mode == "L"
    assert lines.size == drawing.size
    ink, expected = _ink(lines), _ink(drawings.face())
    assert (ink & expected).sum() > 0.9 * (ink | expected).sum()
    assert np.mean(np.asarray(lines)[_PLAIN[..., 0] == 1] == 255) > 0.99, "paper is white"
    assert np.asarray(lines).min() == 0, "the darkest lines are black"


@pytest.mark.parametrize("paper", ["white", "grey", "faint pencil", "lamp at a corner"])
def test_white_on_black_is_noticed_and_inverted(paper):
    """Chalk on a board, lit like the papers."""
    drawing = drawings.picture(0.05 + 0.4 * (PAPERS[paper].max() - PAPERS[paper]))
    assert line_art.is_light_on_dark(drawing)
    ink, expected = _ink(_clean(drawing, inverted=True)), _ink(drawings.face())
    assert (ink & expected).sum() > 0.8 * (ink | expected).sum()


def test_a_dark_photograph_is_not_taken_for_white_on_black():
    assert not line_art.is_light_on_dark(drawings.picture(0.4 * _PLAIN))


def test_filled_areas_stay_dark():
    drawing = drawings.face()
    PIL.ImageDraw.Draw(drawing).rectangle([10, 5, 110, 50], fill=0)
    lines = np.asarray(_clean(drawing.convert("RGB")))
    assert lines[8:48, 13:107].mean() < 25


@pytest.mark.parametrize("grain", [0, 0.03])
@pytest.mark.parametrize("level", [0.05, 0.5, 1.0])
def test_blank_paper_is_refused(level, grain):
    noise = grain * np.random.default_rng(1).standard_normal((200, 150, 1))
    with pytest.raises(line_art.BlankError, match="blank"):
        _clean(drawings.picture(level * (1 + noise).repeat(3, axis=-1)))


def test_tiny_drawings_are_refused():
    with pytest.raises(ValueError, match=r"100 x 15 pixels; 16 are needed"):
        _clean(PIL.Image.new("RGB", (100, 15), "white"))


def test_a_drawing_like_a_sketch_of_training_becomes_that_sketch():
    """Sketches of training, enlarged and drawn in faint pencil on grey paper."""
    encoded = [toy_drawing.draw_png(seed, 128) for seed in range(4)]
    faces = [np.asarray(PIL.Image.open(io.BytesIO(png))) for png in encoded]
    images = conditions.from_uint8(jnp.asarray(np.stack(faces)))
    sketches = sketch.xdog(images, jnp.full((4,), 0.4))
    expected = np.asarray(conditions.resize(sketches, 32))
    for drawn, trained in zip(np.asarray(sketches), expected, strict=True):
        on_paper = drawings.picture(np.repeat(0.5 + 0.1 * drawn, 3, axis=-1))
        scan = on_paper.resize((700, 700), PIL.Image.Resampling.BICUBIC)
        cleaned = line_art.model_sketch(line_art.flatten(scan), 128, 32)
        assert cleaned.shape == (32, 32, 1)
        assert cleaned.dtype == np.float32
        assert np.corrcoef(cleaned.ravel(), trained.ravel())[0, 1] > 0.9
        # As dark in all: the width of the lines is that of training.
        assert cleaned.mean() == pytest.approx(trained.mean(), abs=0.15)


def test_the_size_of_a_scan_does_not_matter():
    small, large = (
        line_art.model_sketch(
            line_art.flatten(drawings.face(120 * n, 160 * n, 2 * n).convert("RGB")), 128, 32
        )
        for n in (1, 4)
    )
    assert np.abs(small - large).mean() < 0.1


def test_thin_lines_of_a_large_scan_are_not_lost():
    """A pixel of 800 is a sixth of a pixel where these sketches are drawn."""
    thin, usual = (line_art.flatten(drawings.face(600, 800, n).convert("RGB")) for n in (1, 6))
    ink = [np.mean(line_art.model_sketch(lines, 128, 128) < 0) for lines in (thin, usual)]
    assert ink[0] > 0.7 * ink[1]


@pytest.mark.parametrize(("width", "height"), [(200, 100), (100, 200)])
def test_drawings_are_padded_with_paper(width, height):
    lines = line_art.flatten(drawings.face(width, height).convert("RGB"))
    drawn = line_art.model_sketch(lines, 128, 32)[..., 0]
    if width > height:
        drawn = drawn.T
    np.testing.assert_allclose(drawn[:, :7], 1, atol=1e-6)
    np.testing.assert_allclose(drawn[:, -7:], 1, atol=1e-6)
    assert (drawn < 0.8).any()


def test_a_speck_that_vanishes_is_no_drawing():
    page = PIL.Image.new("RGB", (3000, 3000), "white")
    PIL.ImageDraw.Draw(page).line([1500, 1500, 1500, 1502], fill="black", width=3)
    with pytest.raises(line_art.BlankError):
        line_art.model_sketch(line_art.flatten(page), 64, 32)


def test_cleaning_is_not_random():
    """The same drawing is always the same sketch."""
    lines = line_art.flatten(drawings.face().convert("RGB"))
    first, second = (line_art.model_sketch(lines, 128, 32) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first).max() <= 1 + 1e-6
