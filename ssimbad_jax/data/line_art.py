"""A drawing made by hand, cleaned until it looks like the sketches of training.

Real drawings come on tinted paper, photographed under a lamp, in faint pencil or white on black.
They are brought to one form, black lines on white paper, in two sizes: the drawing's own, for the
lines of the result, and the model's, where the lines are drawn by the very filter that made those
of training (`ssimbad_jax.data.sketch`), so that width and darkness are the ones the model knows.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import scipy.ndimage

from ssimbad_jax.data import conditions, sketch

SMALLEST_SIDE = 16  # pixels

_MAP_SIZE = 256  # pixels, longer side, of the map of the paper's brightness
_WIDEST_INK = 1 / 10  # of the map; wider dark areas are taken for paper in the shade ...
_DARKEST_SHADE = 0.5  # ... unless they are darker than this share of the paper's median
_MEASURED_SIDE = 1024  # pixels, longer side, that paper and ink are measured on
_PAPER_GRAIN = 3.0  # standard deviations of the grain that still count as paper
_LEAST_GRAIN, _MOST_GRAIN = 0.03, 0.2  # of the paper's brightness
_BLACK = 5  # percentile of the ink that becomes black
_LEAST_CONTRAST = 0.06  # of the paper's brightness, between it and the lines
_LEAST_INK = 2e-4  # share of the pixels
_SIGMA = sorted(sketch.SIGMAS)[len(sketch.SIGMAS) // 2]


class BlankError(ValueError):
    """There are no lines in the drawing."""


def is_light_on_dark(drawing: PIL.Image.Image) -> bool:
    """Tells white lines on black paper from black lines on white paper.

    Paper is what there is most of: it is dark, and what differs from it is brighter.
    """
    grey = _grey(_shrunk(drawing, _MAP_SIZE))
    median = float(np.median(grey))
    return median < 0.5 and float(grey.mean()) > median


def flatten(drawing: PIL.Image.Image, inverted: bool = False) -> PIL.Image.Image:
    """Divides a drawing by its paper, so that tint and uneven light are gone.

    Args:
        drawing: RGB, upright, of any size; see `picture_file.read_rgb`.
        inverted: the lines are lighter than the paper.

    Returns:
        Mode "F", of the drawing's size: about 1 on paper, less on lines.

    Raises:
        ValueError: it is smaller than `SMALLEST_SIDE`.
    """
    if min(drawing.size) < SMALLEST_SIDE:
        raise ValueError(
            f"it is {drawing.width} x {drawing.height} pixels; {SMALLEST_SIDE} are needed each way"
        )
    grey = _grey(drawing)
    if inverted:
        grey = 1 - grey
    return PIL.Image.fromarray(grey / _paper(grey))


def line_layer(flat: PIL.Image.Image) -> PIL.Image.Image:
    """Returns the lines alone, stretched to black on white paper.

    Args:
        flat: result of `flatten`.

    Returns:
        8-bit grey, of the drawing's size: 255 on paper, 0 on the darkest lines.

    Raises:
        BlankError: the drawing has no lines.
    """
    return _stretched(np.asarray(flat))


def model_sketch(flat: PIL.Image.Image, condition_size: int, image_size: int) -> np.ndarray:
    """Draws the lines as training did: XDoG at `condition_size`, then resized.

    Args:
        flat: result of `flatten`; what is not square is padded with paper.
        condition_size: pixels at which sketches of training are made.
        image_size: pixels of the model.

    Returns:
        float32 `[image_size, image_size, 1]`, -1 on lines and 1 on paper.

    Raises:
        BlankError: at this size nothing is left of the lines.
    """
    scale = condition_size / max(flat.size)
    size = [max(1, round(side * scale)) for side in flat.size]
    # Resized before they are stretched: the grain of the paper is averaged away, and lines that
    # are thin for a large scan, and pale when resized, are as black as others.
    small = flat.resize((size[0], size[1]), PIL.Image.Resampling.LANCZOS)
    square = padded_to_square(_stretched(np.asarray(small)))
    return np.asarray(_drawn(np.asarray(square.convert("RGB")), image_size))


@functools.partial(jax.jit, static_argnames="image_size")
def _drawn(square: jax.Array, image_size: int) -> jax.Array:
    """Draws uint8 `[S, S, 3]` as training does."""
    picture = conditions.from_uint8(square)[None]
    return conditions.resize(sketch.xdog(picture, jnp.full((1,), _SIGMA)), image_size)[0]


def padded_to_square(lines: PIL.Image.Image) -> PIL.Image.Image:
    """Centres a picture on a white square."""
    side = max(lines.size)
    square = PIL.Image.new(lines.mode, (side, side), "white")
    square.paste(lines, ((side - lines.width) // 2, (side - lines.height) // 2))
    return square


def _grey(picture: PIL.Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("L"), np.float32) / 255


def _shrunk(picture: PIL.Image.Image, side: int) -> PIL.Image.Image:
    small = picture.copy()
    small.thumbnail((side, side), PIL.Image.Resampling.BOX)
    return small


def _paper(grey: np.ndarray) -> np.ndarray:
    """Returns the brightness the paper has at each pixel `[H, W]`, as if nothing were drawn.

    A morphological closing removes all dark things that are narrow. What stays and is still
    much darker than the paper is a filled area, not shade.
    """
    image = PIL.Image.fromarray(np.rint(grey * 255).astype(np.uint8))
    small = np.asarray(_shrunk(image, _MAP_SIZE), np.float32) / 255
    width = round(max(small.shape) * _WIDEST_INK)
    # The grain of the paper must not count: the closing takes the brightest of it.
    calm = scipy.ndimage.gaussian_filter(small, 1.0)
    closed = scipy.ndimage.grey_closing(calm, (width, width))
    floor = _DARKEST_SHADE * np.median(closed)
    even = scipy.ndimage.gaussian_filter(np.maximum(closed, floor), width / 2)
    paper = PIL.Image.fromarray(even).resize(image.size, PIL.Image.Resampling.BILINEAR)
    return np.maximum(np.asarray(paper), 1 / 255)


def _stretched(level: np.ndarray) -> PIL.Image.Image:
    """Maps paper, which is near 1, to white, and the darkest lines to black."""
    step = math.ceil(max(level.shape) / _MEASURED_SIDE)
    measured = level[::step, ::step]
    middle = float(np.median(measured))
    grain = 1.4826 * float(np.median(np.abs(measured - middle)))  # standard deviation, robust
    white = middle - max(_LEAST_GRAIN, min(_PAPER_GRAIN * grain, _MOST_GRAIN))
    ink = measured[measured < white]
    black = float(np.percentile(ink, _BLACK)) if ink.size >= _LEAST_INK * measured.size else white
    if white - black < _LEAST_CONTRAST:
        raise BlankError("it is blank: no lines stand out from the paper")
    stretched = np.clip((level - black) / (white - black), 0, 1)
    return PIL.Image.fromarray(np.rint(stretched * 255).astype(np.uint8))
