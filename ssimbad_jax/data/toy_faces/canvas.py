"""A supersampled picture, and pens that draw on it in the coordinates of a head or a body.

Pillow's own polygons, drawn larger and averaged down: every part is a flat polygon, and a
dependency on a vector library would buy only what the averaging does already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from ssimbad_jax.data.toy_faces import curves, palette

_CORNER = 0.7  # cosine of the turn from which a vertex of an outline is a corner
_MIN_SUPERSAMPLING = 3
_MIN_CANVAS = 384  # pixels: small pictures are drawn no smaller than this, then averaged down


@dataclasses.dataclass(frozen=True)
class Frame:
    """Places head (or body) coordinates in the picture, whose sides run from 0 to 1.

    In head coordinates x runs from -1 to 1 across the cheeks, y downwards, the eyes are at 0.15.

    Attributes:
        scale: Length of one head unit in the picture.
        angle: Tilt in radians, clockwise.
        x: Picture coordinate of the origin.
        y: Picture coordinate of the origin.
        yaw: Turn of the head in [-1, 1]; parts in front move by this much to the side.
        pitch: Nod of the head in [-1, 1]; parts in front move down by this much.
        pen: Thickness of all strokes relative to the usual one.
    """

    scale: float
    angle: float
    x: float
    y: float
    yaw: float = 0.0
    pitch: float = 0.0
    pen: float = 1.0

    def place(self, path: np.ndarray, depth: float) -> np.ndarray:
        """Maps points [N, 2] at `depth` (1: tip of the nose, 0: ears) into the picture."""
        x, y = path[:, 0], path[:, 1]
        if depth and (self.yaw or self.pitch):
            front = depth * np.clip(1.0 - (x / 1.4) ** 2, 0.0, 1.0)
            x, y = x + 0.25 * self.yaw * front, y + 0.12 * self.pitch * front
        cosine, sine = self.scale * np.cos(self.angle), self.scale * np.sin(self.angle)
        return np.stack([self.x + cosine * x - sine * y, self.y + sine * x + cosine * y], axis=1)


@functools.cache
def _taper(count: int, start: float, end: float) -> np.ndarray:
    t = np.linspace(0.0, 1.0, count)
    rise = start + (1 - start) * np.sin(np.pi * np.minimum(t, 0.5))
    fall = end + (1 - end) * np.sin(np.pi * np.minimum(1 - t, 0.5))
    return np.minimum(rise, fall)


class Canvas:
    """A square picture drawn several times larger than asked for, and which role paints where."""

    def __init__(self, size: int, has_roles: bool = False):
        """Starts an empty picture of size x size pixels.

        Args:
            size: Height and width.
            has_roles: Whether roles are noted, for `roles`.
        """
        factor = max(_MIN_SUPERSAMPLING, -(-_MIN_CANVAS // size))
        self.size = size
        self.pixels = size * factor
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self.role_image = Image.new("L", self.image.size) if has_roles else None

    def pen(self, frame: Frame) -> Pen:
        """Returns a pen that draws in the coordinates of `frame`."""
        return Pen(self.image, frame, self.pixels, role_image=self.role_image)

    def fill_role(self, role: palette.Role) -> None:
        """Gives all that is painted so far one role."""
        if self.role_image is not None:
            self.role_image.paste(int(role), (0, 0, self.pixels, self.pixels))

    def roles(self) -> np.ndarray:
        """Returns the role at the centre of each pixel, uint8 [size, size].

        Raises:
            ValueError: If no roles were noted.
        """
        if self.role_image is None:
            raise ValueError("no roles were noted; make the canvas with has_roles=True.")
        factor = self.pixels // self.size
        return np.asarray(self.role_image)[factor // 2 :: factor, factor // 2 :: factor].copy()

    def finish(self, light: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> np.ndarray:
        """Returns the picture under coloured light, averaged down to uint8 [size, size, 3]."""
        picture = self.image.reduce(self.pixels // self.size)
        levels = np.outer(light, np.arange(256))
        return np.asarray(picture.point(np.rint(levels).astype(int).ravel().tolist()))


class Pen:
    """Draws polygons and strokes in the coordinates of a frame, at one depth of the head."""

    def __init__(
        self,
        image: Image.Image,
        frame: Frame,
        pixels: int,
        depth: float = 0.0,
        corner: tuple[int, int] = (0, 0),
        role_image: Image.Image | None = None,
    ):
        """Draws on `image`, whose top left pixel is `corner` of a picture `pixels` wide.

        Roles are drawn on `role_image`, which is as large.
        """
        self._image = image
        self._draw = ImageDraw.Draw(image)
        self._role_image = role_image
        self._role_draw = None if role_image is None else ImageDraw.Draw(role_image)
        self._frame = frame
        self._pixels = pixels
        self._depth = depth
        self._corner = corner

    def at(self, depth: float) -> Pen:
        """Returns the same pen at another depth."""
        return Pen(self._image, self._frame, self._pixels, depth, self._corner, self._role_image)

    def _place(self, path: np.ndarray) -> np.ndarray:
        # Whole pixels: Pillow would truncate, and rounding hides differences in the last bit.
        placed = self._frame.place(path, self._depth) * self._pixels - 0.5
        return np.rint(placed - np.array(self._corner)).astype(np.int64)

    def fill(self, path: np.ndarray, colour: palette.Colour) -> None:
        """Fills the polygon [N, 2]."""
        placed = self._place(path).ravel().tolist()
        self._draw.polygon(placed, fill=colour)
        if self._role_draw is not None:
            self._role_draw.polygon(placed, fill=int(palette.role_of(colour)))

    def line(
        self,
        path: np.ndarray,
        width: float,
        colour: palette.Colour,
        start: float = 0.0,
        end: float = 0.0,
    ) -> None:
        """Strokes the path [N, 2]; its ends have the fractions `start` and `end` of `width`."""
        half_width = _taper(len(path), start, end) * (0.5 * width * self._frame.pen)
        self.fill(curves.ribbon(path, half_width).outline(), colour)

    def outline(self, path: np.ndarray, width: float, colour: palette.Colour) -> None:
        """Strokes the closed path [N, 2] with constant width and round corners."""
        step = np.roll(path, -1, axis=0) - path
        before = np.roll(step, 1, axis=0)
        cosine = (step * before).sum(axis=1) / (np.hypot(*step.T) * np.hypot(*before.T) + 1e-12)
        corners = np.flatnonzero(cosine < _CORNER).tolist()
        if not corners:
            self.line(np.concatenate([path, path[:1]]), width, colour, start=1.0, end=1.0)
            return
        # One stroke between corners, where the offset curves of a single one would cross.
        radius = 0.5 * width * self._frame.pen
        for first, last in zip(corners, [*corners[1:], corners[0] + len(path)], strict=True):
            piece = np.arange(first, last + 1) % len(path)
            self.line(path[piece], width, colour, start=1.0, end=1.0)
            x, y = path[first].tolist()
            self.fill(curves.ellipse(x, y, radius, radius, count=8), colour)

    def shape(
        self, path: np.ndarray, colour: palette.Colour, line: palette.Colour, width: float
    ) -> None:
        """Fills the polygon [N, 2] and strokes its outline."""
        self.fill(path, colour)
        self.outline(path, width, line)

    @contextlib.contextmanager
    def clip(self, region: np.ndarray) -> Iterator[Pen]:
        """Yields a pen whose marks stay inside the polygon `region` [N, 2]."""
        placed = self._place(region)
        width, height = self._image.size
        left, top = np.maximum(placed.min(axis=0), 0).tolist()
        right, bottom = np.minimum(placed.max(axis=0) + 1, (width, height)).tolist()
        if right <= left or bottom <= top:
            yield Pen(Image.new("RGB", (1, 1)), self._frame, self._pixels, self._depth)
            return
        box = (left, top, right, bottom)
        inner = self._image.crop(box)
        inner_roles = None if self._role_image is None else self._role_image.crop(box)
        corner = (self._corner[0] + left, self._corner[1] + top)
        yield Pen(inner, self._frame, self._pixels, self._depth, corner, inner_roles)
        mask = Image.new("1", inner.size)
        ImageDraw.Draw(mask).polygon((placed - (left, top)).ravel().tolist(), fill=1)
        self._image.paste(inner, (left, top), mask)
        if self._role_image is not None and inner_roles is not None:
            self._role_image.paste(inner_roles, (left, top), mask)
