"""Tests of the procedural faces."""

import colorsys

import numpy as np
import pytest
from PIL import Image

from ssimbad_jax.data.toy_faces import canvas, curves, drawing, locks, palette

SEEDS = range(60)


@pytest.fixture(scope="module")
def faces():
    """The first faces at 64 px, float64 [N, 64, 64, 3] in [0, 1]."""
    return np.stack([drawing.draw(seed, 64) for seed in SEEDS]) / 255.0


def test_draw_is_deterministic_and_seeds_differ(faces):
    assert drawing.draw(3, 64).dtype == np.uint8
    np.testing.assert_array_equal(drawing.draw(3, 64), drawing.draw(3, 64))
    coarse = faces.reshape(len(faces), 16, 4, 16, 4, 3).mean(axis=(2, 4))
    difference = np.abs(coarse[:, None] - coarse[None]).mean(axis=(2, 3, 4))
    assert difference[~np.eye(len(faces), dtype=bool)].min() > 0.05


@pytest.mark.parametrize("size", [8, 33, 100, 300])
def test_any_size(size):
    assert drawing.draw(1, size).shape == (size, size, 3)


@pytest.mark.parametrize("seed", range(6))
def test_same_picture_at_every_size(seed):
    large = Image.fromarray(drawing.draw(seed, 256)).reduce(4)
    small = drawing.draw(seed, 64)
    difference = np.abs(np.asarray(large, dtype=np.float64) - small) / 255
    assert difference.mean() < 0.015
    other = np.abs(np.asarray(large, dtype=np.float64) - drawing.draw(seed + 1, 64)) / 255
    assert difference.mean() < other.mean() / 5


def test_version_follows_the_pictures():
    """Other pictures need another version, else prepared data of old drawings would be reused."""
    means = {"1.0.0": [136.6, 122.6, 176.3, 109.0, 187.1, 155.7]}
    drawn = [drawing.draw(seed, 16).mean() for seed in range(6)]
    assert drawn == pytest.approx(means[drawing.VERSION], abs=0.3)


def test_pictures_vary(faces):
    # Every pixel changes from face to face, background and middle of the face alike.
    assert faces.std(axis=0).min() > 0.04
    brightness = faces.mean(axis=(1, 2, 3))
    assert brightness.std() > 0.05
    assert 0.35 < brightness.mean() < 0.75


def test_palettes_vary():
    palettes = [palette.sample(np.random.default_rng(seed)) for seed in range(400)]
    hair = np.array([colorsys.rgb_to_hsv(*(np.array(one.hair.base) / 255)) for one in palettes])
    coloured = hair[hair[:, 1] > 0.2]
    assert (np.histogram(coloured[:, 0], bins=10, range=(0, 1))[0] > 0).sum() >= 8
    assert hair[:, 2].std() > 0.2
    skin = np.array([one.skin.base for one in palettes], dtype=np.float64)
    assert (skin[:, 0] > skin[:, 1]).all() and (skin[:, 1] > skin[:, 2]).all()
    iris = np.array([one.iris.base for one in palettes], dtype=np.float64)
    assert iris.std(axis=0).min() > 30


def test_tones_are_ordered():
    for seed in range(50):
        colours = palette.sample(np.random.default_rng(seed))
        for tone in (colours.hair, colours.skin, colours.cloth, colours.iris):
            assert sum(tone.line) < sum(tone.shade) < sum(tone.base) <= sum(tone.light)


def test_outlines_give_line_art():
    """A difference of Gaussians, as in XDoG, finds thin dark lines and no filled areas."""
    cv2 = pytest.importorskip("cv2")
    for seed in range(12):
        grey = drawing.draw(seed, 256).astype(np.float64) @ [0.299, 0.587, 0.114] / 255
        fine, coarse = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (0.4, 0.4 * 3.5))
        ink = grey * (11 * fine - 10 * coarse) < 0.01
        assert 0.02 < ink.mean() < 0.25
        # Lines are thin: little survives an erosion by five pixels.
        thick = cv2.erode(ink.astype(np.uint8), np.ones((5, 5), np.uint8))
        assert thick.mean() < 0.15 * ink.mean()


def test_face_is_in_the_middle(faces):
    """Below the eyes the middle of most pictures is skin: red over green over blue, and pale."""
    cheeks = faces[:, 34:42, 26:38]
    red, green, blue = np.moveaxis(cheeks, -1, 0)
    skin = (red > green) & (green > blue - 0.02) & (red > 0.5)
    assert skin.mean() > 0.5
    corners = faces[:, :6, :6]
    red, green, blue = np.moveaxis(corners, -1, 0)
    assert ((red > green) & (green > blue - 0.02) & (red > 0.5)).mean() < 0.4


def test_contact_sheet():
    sheet = drawing.contact_sheet([5, 6, 7], size=16, columns=2)
    assert sheet.shape == (32, 32, 3)
    np.testing.assert_array_equal(sheet[:16, 16:], drawing.draw(6, 16))
    np.testing.assert_array_equal(sheet[16:, :16], drawing.draw(7, 16))
    assert (sheet[16:, 16:] == 255).all()


def test_bad_drawing_arguments():
    with pytest.raises(ValueError, match=r"seed.*-1"):
        drawing.draw(-1, 64)
    with pytest.raises(ValueError, match=r"size.*7"):
        drawing.draw(0, 7)
    with pytest.raises(ValueError, match="columns"):
        drawing.contact_sheet([0], size=16, columns=0)


def test_curves():
    control = curves.points((0, 0), (1, 2), (3, 2), (4, 0))
    path = curves.bezier(control, 9)
    np.testing.assert_allclose(path[[0, -1]], control[[0, -1]])
    np.testing.assert_allclose(path[4], [2.0, 1.5])
    knots = curves.points((0, 0), (1, 1), (2, 0), (3, 1))
    np.testing.assert_allclose(curves.spline(knots, count=5)[::5], knots, atol=1e-12)
    closed = curves.spline(knots, closed=True, count=5)
    np.testing.assert_allclose(closed[::5], knots, atol=1e-12)
    line = np.linspace((0.0, 0.0), (0.0, 4.0), 5)
    band = curves.ribbon(line, 0.5)
    assert np.ptp(band.outline()[:, 0]) == pytest.approx(1.0)
    np.testing.assert_allclose(band.at(np.array([0.5]), np.array([0.0])), [[0.0, 2.0]])
    np.testing.assert_allclose(band.edge(1.0), band.at(np.linspace(0, 1, 5), np.ones(5)))


def test_lock_ends_in_a_point():
    one = locks.lock(curves.points((0, 0), (0, 1), (0, 2), (0, 3)), 0.3)
    assert one.ribbon.half_width[-1] == 0.0
    assert one.ribbon.half_width.max() <= 0.3


def test_clip_keeps_marks_inside():
    picture = canvas.Canvas(16)
    pen = picture.pen(canvas.Frame(1.0, 0.0, 0.0, 0.0))
    square = curves.points((0, 0), (1, 0), (1, 1), (0, 1))
    pen.fill(square, (255, 255, 255))
    with pen.clip(square * 0.5) as inside:
        inside.fill(square, (255, 0, 0))
    with pen.clip(square + 2.0) as outside:  # not in the picture at all
        outside.fill(square, (0, 255, 0))
    pixels = picture.finish()
    assert (pixels[:7, :7] == (255, 0, 0)).all()
    assert (pixels[9:, 9:] == 255).all()
