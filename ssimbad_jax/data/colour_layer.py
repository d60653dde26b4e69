"""A small coloured square and a large drawing, brought together at the drawing's size.

The model colours at its own size. Enlarged as they are, its pictures would be blurred and would
bleed over the lines; so its colours are spread between the lines of the drawing, and the drawing's
own lines are laid over them.
"""

import numpy as np
import PIL.Image
import PIL.ImageChops

_SPREAD = 1.2  # pixels of the model over which colours are averaged
_LINE_WIDTHS = 24.0  # pixels of the model that crossing a black line is as far as
_WORKING_SIDE = 1024  # pixels, longer side, at which colours are spread
_ITERATIONS = 3
_LEAST_WEIGHT = 0.02  # of a colour that the model saw a line on


def enlarge(
    coloured: np.ndarray, size: tuple[int, int], resample: PIL.Image.Resampling
) -> PIL.Image.Image:
    """Cuts the padding off a square and enlarges the rest.

    Args:
        coloured: uint8 `[S, S, 3]` or `[S, S]`, of a drawing that was padded to a square.
        size: (width, height) of the drawing.
        resample: Pillow's filter.

    Returns:
        A picture of `size`.
    """
    side, (width, height) = coloured.shape[0], size
    scale = side / max(size)
    left, top = (side - width * scale) / 2, (side - height * scale) / 2
    box = (left, top, side - left, side - top)
    return PIL.Image.fromarray(coloured).resize(size, resample, box=box)


def colour_lines(
    lines: PIL.Image.Image, coloured: np.ndarray, sketch: np.ndarray
) -> PIL.Image.Image:
    """Lays the drawing's own lines over the model's colours.

    Args:
        lines: 8-bit grey, 255 on paper and 0 on lines.
        coloured: uint8 `[S, S, 3]`, the model's picture.
        sketch: `[S, S, 1]`, -1 on lines and 1 on paper, what the model was shown: colours under its
            lines are ink, and count little.

    Returns:
        RGB of the size of `lines`.
    """
    working = lines.copy()
    working.thumbnail((_WORKING_SIDE, _WORKING_SIDE), PIL.Image.Resampling.BOX)
    shown = np.rint((sketch[..., 0] + 1) * 127.5).astype(np.uint8)
    bilinear = PIL.Image.Resampling.BILINEAR
    colour = np.asarray(enlarge(coloured, working.size, bilinear), np.float32)
    paper = np.asarray(enlarge(shown, working.size, bilinear), np.float32)[..., None] / 255
    weight = paper**2 + np.float32(_LEAST_WEIGHT)
    model_pixel = max(working.size) / coloured.shape[0]
    darkness = 1 - np.asarray(working, np.float32) / 255
    distance = 1 + _LINE_WIDTHS * model_pixel * darkness
    spread = _spread(np.concatenate([weight * colour, weight], -1), distance, _SPREAD * model_pixel)
    layer = np.clip(np.rint(spread[..., :3] / spread[..., 3:]), 0, 255).astype(np.uint8)
    full = PIL.Image.fromarray(layer).resize(lines.size, PIL.Image.Resampling.BICUBIC)
    return PIL.ImageChops.multiply(full, lines.convert("RGB"))


def _spread(values: np.ndarray, distance: np.ndarray, width: float) -> np.ndarray:
    """Averages over what is near, where lines are far to cross.

    The recursive filter of Gastal and Oliveira, "Domain transform for edge-aware image and video
    processing" (2011), section 5, with distances that are given.

    Args:
        values: float32 `[H, W, C]`.
        distance: float32 `[H, W]`, from a pixel's neighbours to it.
        width: standard deviation of the average, in units of `distance`.
    """
    for iteration in range(_ITERATIONS):
        share = 2 ** (_ITERATIONS - iteration - 1) / np.sqrt(4**_ITERATIONS - 1)
        sigma = width * np.sqrt(3) * share  # equation 14
        decay = np.exp(-np.sqrt(2) / sigma * distance)[..., None].astype(np.float32)
        for axis in (1, 0):
            values = _along(values, decay, axis)
    return values


def _along(values: np.ndarray, decay: np.ndarray, axis: int) -> np.ndarray:
    """Filters along an axis, forwards and backwards (equation 21)."""
    values, decay = np.moveaxis(values, axis, 0).copy(), np.moveaxis(decay, axis, 0)
    for i in range(1, len(values)):
        values[i] += decay[i] * (values[i - 1] - values[i])
    for i in range(len(values) - 2, -1, -1):
        values[i] += decay[i + 1] * (values[i + 1] - values[i])
    return np.moveaxis(values, 0, axis)
