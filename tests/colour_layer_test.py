"""The model's colours between the drawing's own lines."""

import numpy as np
import PIL.Image
import pytest

from ssimbad_jax.data import colour_layer

_SIDE = 16
_PAPER = np.ones((_SIDE, _SIDE, 1), np.float32)
_RED, _BLUE = np.array([200, 40, 40]), np.array([40, 40, 200])


def _halves():
    coloured = np.empty((_SIDE, _SIDE, 3), np.uint8)
    coloured[:, : _SIDE // 2], coloured[:, _SIDE // 2 :] = _RED, _BLUE
    return coloured


def _lines(width=320, height=320, at=None):
    """White paper, and a black line three pixels wide."""
    lines = np.full((height, width), 255, np.uint8)
    if at is not None:
        lines[:, at - 1 : at + 2] = 0
    return PIL.Image.fromarray(lines)


@pytest.mark.parametrize("size", [(320, 320), (33, 57), (1500, 400)])
def test_one_colour_without_lines_stays_that_colour(size):
    coloured = np.broadcast_to(_RED.astype(np.uint8), (_SIDE, _SIDE, 3))
    result = colour_layer.colour_lines(_lines(*size), coloured, _PAPER)
    assert result.size == size
    assert result.mode == "RGB"
    assert np.abs(np.asarray(result, int) - _RED).max() <= 1


def test_lines_stay_as_sharp_as_they_were_drawn():
    result = np.asarray(colour_layer.colour_lines(_lines(at=100), _halves(), _PAPER), int)
    assert (result[:, 99:102] == 0).all()
    assert result[:, 97, 0].min() > 150
    assert result[:, 103, 0].min() > 150


def test_colours_do_not_cross_a_line():
    """Eight pixels beside it there is little of the other side; the model's pixels are 20 wide."""
    result = np.asarray(colour_layer.colour_lines(_lines(at=160), _halves(), _PAPER), int)
    open_paper = np.asarray(colour_layer.colour_lines(_lines(), _halves(), _PAPER), int)
    for column, colour in ((152, _RED), (168, _BLUE)):
        closed = np.abs(result[:, column] - colour).max()
        assert closed < 32  # of 160
        assert closed < 0.6 * np.abs(open_paper[:, column] - colour).max()


def test_the_models_own_ink_does_not_darken_the_colours():
    """Where the model was shown a line it paints dark, a pixel of its wide."""
    coloured = np.broadcast_to(_RED.astype(np.uint8), (_SIDE, _SIDE, 3)).copy()
    coloured[:, 5] = 0
    sketch = _PAPER.copy()
    sketch[:, 5] = -1
    lines = _lines(at=110)
    result = np.asarray(colour_layer.colour_lines(lines, coloured, sketch), int)
    assert np.abs(result[:, 104] - _RED).max() < 30
    enlarged = colour_layer.enlarge(coloured, lines.size, PIL.Image.Resampling.BILINEAR)
    assert np.asarray(enlarged)[:, 104].max() < 60


@pytest.mark.parametrize(("width", "height"), [(64, 32), (32, 64), (48, 48), (7, 64)])
def test_padding_is_cut_off(width, height):
    """The square's middle holds the drawing, in its proportions."""
    side = 64
    left, top = (side - width * side // max(width, height)) // 2, 0
    if width > height:
        left, top = 0, (side - height) // 2
    coloured = np.zeros((side, side), np.uint8)
    coloured[top : side - top, left : side - left] = 255
    nearest = PIL.Image.Resampling.NEAREST
    result = np.asarray(colour_layer.enlarge(coloured, (width, height), nearest))
    assert result.shape == (height, width)
    assert result.mean() > 230
