"""Curves as arrays of points: Bezier curves, splines, ellipses and ribbons of varying width."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np


@functools.cache
def _bezier_basis(count: int) -> np.ndarray:
    t = np.linspace(0.0, 1.0, count)[:, None]
    return np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])


@functools.cache
def _catmull_rom_basis(count: int) -> np.ndarray:
    t = np.linspace(0.0, 1.0, count, endpoint=False)[:, None]
    weights = [
        -(t**3) + 2 * t**2 - t,
        3 * t**3 - 5 * t**2 + 2,
        -3 * t**3 + 4 * t**2 + t,
        t**3 - t**2,
    ]
    return 0.5 * np.hstack(weights)


@functools.cache
def _circle(count: int) -> np.ndarray:
    angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def points(*pairs: tuple[float, float]) -> np.ndarray:
    """Returns the pairs as an array [N, 2]."""
    return np.array(pairs, dtype=np.float64)


def mirror(path: np.ndarray) -> np.ndarray:
    """Returns the path [N, 2] mirrored at x = 0, in reverse order."""
    return path[::-1] * np.array([-1.0, 1.0])


def symmetric(right_half: np.ndarray) -> np.ndarray:
    """Completes a path [N, 2] that ends on the axis x = 0 with its mirror image, [2N-1, 2]."""
    return np.concatenate([right_half, mirror(right_half)[1:]])


def bezier(control: np.ndarray, count: int = 16) -> np.ndarray:
    """Samples a cubic Bezier curve.

    Args:
        control: The four control points [4, 2].
        count: Number of samples, both ends included.

    Returns:
        Points [count, 2].
    """
    return _bezier_basis(count) @ control


def spline(knots: np.ndarray, *, closed: bool = False, count: int = 6) -> np.ndarray:
    """Samples the uniform Catmull-Rom spline through knots.

    Args:
        knots: Points [N, 2] to pass through.
        closed: Whether the last knot joins the first.
        count: Samples for each segment.

    Returns:
        Points [N * count, 2] if closed, else [(N - 1) * count + 1, 2].
    """
    if closed:
        padded = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        first, last = 2 * knots[0] - knots[1], 2 * knots[-1] - knots[-2]
        padded = np.concatenate([first[None], knots, last[None]])
    windows = np.stack([padded[:-3], padded[1:-2], padded[2:-1], padded[3:]], axis=1)
    curve = (_catmull_rom_basis(count) @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate([curve, knots[-1:]])


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, *, angle: float = 0.0, count: int = 28
) -> np.ndarray:
    """Returns an ellipse around (x, y), turned by `angle` radians, as a polygon [count, 2]."""
    outline = _circle(count) * np.array([radius_x, radius_y])
    if angle:
        cosine, sine = np.cos(angle), np.sin(angle)
        outline = outline @ np.array([[cosine, sine], [-sine, cosine]])
    return outline + np.array([x, y])


@dataclasses.dataclass(frozen=True)
class Ribbon:
    """A band around a centre line, such as a lock of hair or a pen stroke.

    Attributes:
        centre: Centre line [N, 2].
        normal: Unit normals [N, 2]; the right-hand side of a line walked downwards has x < centre.
        half_width: Half the width [N] at each point of the centre line.
    """

    centre: np.ndarray
    normal: np.ndarray
    half_width: np.ndarray

    def outline(self) -> np.ndarray:
        """Returns the closed outline [2N, 2]."""
        offset = self.normal * self.half_width[:, None]
        return np.concatenate([self.centre + offset, (self.centre - offset)[::-1]])

    def edge(self, side: float, start: float = 0.0) -> np.ndarray:
        """Returns the line at `side` in [-1, 1] across the ribbon, from fraction `start` on."""
        first = int(start * len(self.centre))
        offset = self.normal[first:] * (side * self.half_width[first:, None])
        return self.centre[first:] + offset

    def at(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Returns the points [M, 2] at `along` in [0, 1] and `across` in [-1, 1]."""
        position = np.asarray(along) * (len(self.centre) - 1)
        index = np.arange(len(self.centre))
        rows = np.concatenate([self.centre, self.normal, self.half_width[:, None]], axis=1)
        low = np.clip(position.astype(int), 0, len(index) - 2)
        weight = (position - low)[:, None]
        row = rows[low] * (1 - weight) + rows[low + 1] * weight
        return row[:, :2] + row[:, 2:4] * (row[:, 4] * across)[:, None]


def ribbon(centre: np.ndarray, half_width: np.ndarray | float) -> Ribbon:
    """Builds the ribbon of the given half width [N] (or a number) around a centre line [N, 2]."""
    tangent = np.empty_like(centre)
    tangent[1:-1] = centre[2:] - centre[:-2]
    tangent[0] = centre[1] - centre[0]
    tangent[-1] = centre[-1] - centre[-2]
    length = np.sqrt((tangent * tangent).sum(axis=1, keepdims=True)) + 1e-12
    normal = tangent[:, ::-1] * np.array([-1.0, 1.0]) / length
    return Ribbon(centre, normal, np.broadcast_to(half_width, (len(centre),)))
