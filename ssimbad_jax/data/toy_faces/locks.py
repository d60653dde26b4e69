"""Locks of hair: ribbons with shadow, shine and strand lines."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, palette

LINE = 0.024
_SAMPLES = 16


@functools.cache
def _profile(blunt: float, root: float) -> np.ndarray:
    """Width along a lock: `root` at the crown, full past the middle, a point at the tip."""
    t = np.linspace(0.0, 1.0, _SAMPLES)
    widen = root + (1 - root) * np.sin(0.5 * np.pi * np.minimum(t / 0.55, 1.0))
    return widen * (1.0 - t**blunt)


@dataclasses.dataclass(frozen=True)
class Lock:
    """A lock of hair.

    Attributes:
        ribbon: Its shape, from root to tip.
        shade_from: Fraction of the length at which its shadow starts; 1 for none.
        lines_from: Fraction of the length at which its outline starts.
    """

    ribbon: curves.Ribbon
    shade_from: float
    lines_from: float


def lock(
    control: np.ndarray,
    half_width: float,
    *,
    blunt: float = 2.6,
    root: float = 0.35,
    shade_from: float = 0.45,
    lines_from: float = 0.3,
) -> Lock:
    """Builds a lock.

    Args:
        control: Bezier control points [4, 2] of the centre line, from root to tip.
        half_width: Half the greatest width.
        blunt: Exponent of the tip; large values end in a straight cut.
        root: Width at the root as a fraction of the greatest.
        shade_from: Fraction of the length at which the shadow starts; 1 for none.
        lines_from: Fraction of the length at which the outline starts.
    """
    centre = curves.bezier(control, _SAMPLES)
    return Lock(curves.ribbon(centre, half_width * _profile(blunt, root)), shade_from, lines_from)


def draw(
    pen: canvas.Pen, one: Lock, hair: palette.Tone, shine: tuple[float, float] | None = None
) -> None:
    """Draws a lock: fill, shadow on its right side, shine, outline that fades to the root.

    Args:
        pen: Pen to draw with.
        one: The lock.
        hair: Its colours.
        shine: Heights between which it shines, None for no shine.
    """
    pen.fill(one.ribbon.outline(), hair.base)
    if one.shade_from < 1:
        _shade(pen, one, hair)
    if shine is not None:
        _shine(pen, one.ribbon, hair, shine)
    for side in (-1.0, 1.0):
        pen.line(one.ribbon.edge(side, one.lines_from), LINE, hair.line, start=0.0, end=0.35)


def _shade(pen: canvas.Pen, one: Lock, hair: palette.Tone) -> None:
    """Draws the shadow on the right-hand side, growing to the tip."""
    along = np.linspace(one.shade_from, 1.0, 9)
    inner = 0.95 - 1.35 * np.sin(np.linspace(0.0, 0.5 * np.pi, 9))
    right = -1.0 if one.ribbon.normal[_SAMPLES // 2, 0] > 0 else 1.0
    edge = one.ribbon.at(along, np.full(9, right))
    pen.fill(np.concatenate([edge, one.ribbon.at(along, right * inner)[::-1]]), hair.shade)


def _shine(
    pen: canvas.Pen, one: curves.Ribbon, hair: palette.Tone, band: tuple[float, float]
) -> None:
    """Draws a piece of the ring of light around the head, with a jagged edge."""
    # The ring follows the skull: lower at the sides.
    heights = one.centre[:, 1] - 0.22 * one.centre[:, 0] ** 2
    if heights[0] > band[0] or np.max(heights) < band[1]:
        return
    below = int(np.argmax(heights > band[0]))
    last = int(np.argmax(heights > band[1]))
    start, end = below / (_SAMPLES - 1), last / (_SAMPLES - 1)
    across = np.array([-0.8, -0.5, -0.2, 0.1, 0.4, 0.75])
    jag = np.array([0.0, 0.9, 0.1, 1.0, 0.2, 0.6]) * 0.35 * (end - start)
    top, bottom = one.at(start + 0.6 * jag, across), one.at(end - jag, across)
    pen.fill(np.concatenate([top, bottom[::-1]]), hair.light)


def strand(
    pen: canvas.Pen, control: np.ndarray, hair: palette.Tone, width: float = 0.7 * LINE
) -> None:
    """Draws a single strand line along a Bezier curve [4, 2], fading at both ends."""
    pen.line(curves.bezier(control, 12), width, hair.line)
