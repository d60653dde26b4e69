"""Backgrounds: plain walls, gradients, simple rooms, skies, leaves and patterns."""

from __future__ import annotations

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, palette


def draw(pen: canvas.Pen, rng: np.random.Generator) -> None:
    """Covers the picture, in picture coordinates [0, 1]."""
    style = rng.choice(len(_STYLES), p=[0.15, 0.18, 0.27, 0.10, 0.12, 0.06, 0.12])
    value = rng.uniform(0.35, 0.98)
    colour = palette.hsv(rng.random(), rng.uniform(0.02, 0.40), value)
    _STYLES[style](pen, rng, colour)


def draw_plain(pen: canvas.Pen, rng: np.random.Generator) -> None:
    """Covers the picture with one colour."""
    fill(pen, palette.hsv(rng.random(), rng.uniform(0.02, 0.40), rng.uniform(0.35, 0.98)))


def fill(pen: canvas.Pen, colour: palette.Colour) -> None:
    """Covers the picture with `colour`, in picture coordinates."""
    pen.fill(_rectangle(-0.1, -0.1, 1.1, 1.1), colour)


def _rectangle(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return curves.points((left, top), (right, top), (right, bottom), (left, bottom))


def _plain(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    pen.fill(_rectangle(-0.1, -0.1, 1.1, 1.1), palette.WHITE if rng.random() < 0.3 else colour)


def _gradient(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    other = palette.mix(
        colour, palette.hsv(rng.random(), 0.3, rng.uniform(0.3, 1.0)), rng.uniform(0.3, 0.7)
    )
    steps = 32
    for i in range(steps):
        band = _rectangle(-0.1, i / steps - 0.01, 1.1, 1.1)
        pen.fill(band, palette.mix(colour, other, i / (steps - 1)))


def _room(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    _plain(pen, rng, colour)
    line = palette.times(colour, 0.6, 0.58, 0.6)
    for _ in range(int(rng.integers(1, 4))):
        x, width = rng.uniform(-0.1, 0.9), rng.uniform(0.06, 0.35)
        panel = _rectangle(x, rng.uniform(-0.2, 0.3), x + width, rng.uniform(0.6, 1.2))
        shade = palette.mix(colour, palette.hsv(rng.random(), 0.3, rng.uniform(0.3, 1.0)), 0.4)
        pen.shape(panel, shade, line, 0.005)
    y = rng.uniform(0.3, 0.8)
    pen.line(curves.points((-0.1, y), (0.5, y + 0.02), (1.1, y)), 0.01, line, 1, 1)


def _sky(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    _gradient(
        pen, rng, palette.hsv(rng.uniform(0.53, 0.62), rng.uniform(0.3, 0.6), rng.uniform(0.8, 1.0))
    )
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.random(), rng.uniform(0.0, 0.7)
        for _ in range(5):
            pen.fill(
                curves.ellipse(
                    x + rng.uniform(-0.12, 0.12),
                    y + rng.uniform(-0.02, 0.02),
                    rng.uniform(0.04, 0.1),
                    0.04,
                ),
                palette.WHITE,
            )


def _leaves(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    base = palette.hsv(rng.uniform(0.25, 0.45), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.65))
    pen.fill(_rectangle(-0.1, -0.1, 1.1, 1.1), base)
    for _ in range(34):
        shade = palette.times(base, *([rng.uniform(0.75, 1.3)] * 3))
        pen.fill(
            curves.ellipse(
                rng.random(),
                rng.random(),
                rng.uniform(0.03, 0.1),
                rng.uniform(0.03, 0.08),
                angle=rng.uniform(0, 3),
                count=12,
            ),
            shade,
        )


def _stripes(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    pen.fill(_rectangle(-0.1, -0.1, 1.1, 1.1), colour)
    other = palette.mix(colour, palette.WHITE, rng.uniform(0.25, 0.6))
    width, slope = rng.uniform(0.05, 0.14), rng.uniform(-0.6, 0.6)
    for x in np.arange(-0.8, 1.8, 2 * width):
        pen.fill(
            curves.points(
                (x, -0.05), (x + width, -0.05), (x + width + slope, 1.05), (x + slope, 1.05)
            ),
            other,
        )


def _dots(pen: canvas.Pen, rng: np.random.Generator, colour: palette.Colour) -> None:
    _gradient(pen, rng, colour)
    other = palette.mix(colour, palette.WHITE, 0.5)
    for _ in range(int(rng.integers(8, 26))):
        radius = rng.uniform(0.01, 0.07)
        pen.fill(curves.ellipse(rng.random(), rng.random(), radius, radius), other)


_STYLES = (_plain, _gradient, _room, _sky, _leaves, _stripes, _dots)
