"""Drawings made by the tests: black lines on white paper, as if by hand."""

import numpy as np
import PIL.Image
import PIL.ImageDraw


def face(width: int = 120, height: int = 160, line_width: int = 2) -> PIL.Image.Image:
    """A head with eyes and a mouth, 8-bit grey."""
    picture = PIL.Image.new("L", (4 * width, 4 * height), 255)
    draw = PIL.ImageDraw.Draw(picture)

    def box(left, top, right, bottom):
        return [4 * width * left, 4 * height * top, 4 * width * right, 4 * height * bottom]

    ink = {"fill": None, "outline": 0, "width": 4 * line_width}
    draw.ellipse(box(0.15, 0.15, 0.85, 0.9), **ink)
    draw.ellipse(box(0.3, 0.4, 0.42, 0.5), **ink)
    draw.ellipse(box(0.58, 0.4, 0.7, 0.5), **ink)
    draw.arc(box(0.4, 0.6, 0.6, 0.75), 20, 160, fill=0, width=4 * line_width)
    return picture.resize((width, height), PIL.Image.Resampling.BOX)


def pixels(picture: PIL.Image.Image) -> np.ndarray:
    """As float in [0, 1], with an axis for colours."""
    return np.asarray(picture.convert("RGB"), np.float64) / 255


def picture(values: np.ndarray) -> PIL.Image.Image:
    """The opposite of `pixels`."""
    return PIL.Image.fromarray(np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8))
