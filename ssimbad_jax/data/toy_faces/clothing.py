"""Clothes: collars, sailor suits, hoodies, blazers, kimonos and more."""

from __future__ import annotations

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, palette

_LINE = 0.028


def draw(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    """Draws the clothes over neck and shoulders, in body coordinates."""
    _GARMENTS[rng.choice(len(_GARMENTS), p=[0.2, 0.2, 0.12, 0.12, 0.1, 0.1, 0.08, 0.08])](
        pen, rng, colours
    )


def _torso(pen: canvas.Pen, tone: palette.Tone, neck: np.ndarray, width: float = 1.0) -> np.ndarray:
    """Draws the body of a garment below a neck line that runs from right to left."""
    right = curves.spline(
        np.concatenate(
            [
                neck[:1],
                curves.points((0.95 * width, 1.62), (1.38 * width, 1.92), (1.62 * width, 3.0)),
            ]
        )
    )
    left = right * np.array([-1.0, 1.0])
    body = np.concatenate([right[::-1], neck[1:-1], left])
    pen.fill(body, tone.base)
    with pen.clip(body) as inside:
        inside.fill(curves.points((0.75, 1.5), (1.75, 1.6), (1.8, 3.0), (1.05, 3.0)), tone.shade)
        inside.fill(curves.points((-1.02, 2.0), (-1.12, 3.0), (-1.25, 3.0)), tone.shade)
    pen.line(right, _LINE, tone.line, 0.8, 1.0)
    pen.line(left, _LINE, tone.line, 0.8, 1.0)
    pen.line(neck, _LINE, tone.line, 1.0, 1.0)
    for side in (-1, 1):
        fold = curves.bezier(
            curves.points((1.08, 2.05), (1.04, 2.3), (1.10, 2.6), (1.12, 3.0))
            * np.array([side, 1.0]),
            8,
        )
        pen.line(fold, _LINE, tone.line, 0.0, 0.8)
    return body


def _pair(pen: canvas.Pen, knots: np.ndarray, tone: palette.Tone) -> None:
    """Draws a polygon and its mirror image."""
    pen.shape(knots * np.array([-1.0, 1.0]), tone.base, tone.line, _LINE)
    pen.shape(knots, tone.shade if min(tone.base) > 225 else tone.base, tone.line, _LINE)


def bow(
    pen: canvas.Pen, x: float, y: float, size: float, tone: palette.Tone, angle: float = 0.0
) -> None:
    """Draws a ribbon bow around (x, y), turned by `angle` radians."""
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = size * np.array([[cosine, sine], [-sine, cosine]])
    origin = np.array([x, y])
    for side in (-1, 1):
        flip = np.array([side, 1.0])
        tail = (
            curves.points((0.05, 0.05), (0.40, 0.85), (0.52, 0.62), (0.68, 0.70), (0.22, 0.0))
            * flip
        )
        pen.shape(tail @ turn + origin, tone.shade, tone.line, _LINE * 0.9)
        wing = curves.spline(
            curves.points(
                (0.05, 0.0), (0.45, -0.36), (0.90, -0.38), (0.96, 0.05), (0.85, 0.36), (0.42, 0.24)
            )
            * flip,
            closed=True,
            count=4,
        )
        pen.shape(wing @ turn + origin, tone.base, tone.line, _LINE)
        fold = curves.points((0.2, 0.02), (0.42, 0.0), (0.62, 0.06)) * flip
        pen.line(fold @ turn + origin, _LINE, tone.line, 0.5, 0.0)
        under = (
            curves.points((0.2, 0.08), (0.5, 0.12), (0.88, 0.14), (0.82, 0.32), (0.45, 0.22)) * flip
        )
        pen.fill(under @ turn + origin, tone.shade)
    knot = curves.ellipse(0.0, 0.0, 0.17, 0.20, count=16)
    pen.shape(knot @ turn + origin, tone.base, tone.line, _LINE)


def _tie(pen: canvas.Pen, tone: palette.Tone) -> None:
    pen.shape(
        curves.points((-0.08, 1.72), (0.08, 1.72), (0.19, 2.6), (0.0, 3.0), (-0.19, 2.6)),
        tone.base,
        tone.line,
        _LINE,
    )
    pen.fill(curves.points((0.03, 1.75), (0.07, 1.75), (0.17, 2.6), (0.05, 2.8)), tone.shade)
    pen.shape(
        curves.points((-0.14, 1.52), (0.14, 1.52), (0.09, 1.75), (-0.09, 1.75)),
        tone.base,
        tone.line,
        _LINE,
    )


def _sailor(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    white = palette.tone(palette.Paint((246, 246, 248), palette.Role.WHITE))
    shirt, collar = white, colours.cloth
    if not colours.chooses("white_shirt", 0.7, rng):
        shirt, collar = collar, shirt
    _torso(pen, shirt, curves.points((0.46, 1.40), (0.0, 2.05), (-0.46, 1.40)))
    flap = curves.points(
        (0.40, 1.30),
        (0.62, 1.46),
        (1.15, 1.70),
        (1.08, 2.10),
        (0.62, 2.12),
        (0.0, 2.42),
        (0.02, 2.12),
    )
    stripe = curves.points((1.02, 1.72), (0.98, 1.98), (0.60, 2.00), (0.02, 2.26))
    for side in (-1, 1):
        flip = np.array([side, 1.0])
        pen.shape(flap * flip, collar.base, collar.line, _LINE)
        pen.line(
            stripe * flip,
            0.045,
            shirt.base if min(collar.base) < 200 else colours.accent.base,
            1,
            1,
        )
    if rng.random() < 0.7:
        bow(pen, 0.0, 2.22, 0.55, colours.accent)
    else:
        pen.shape(
            curves.points((-0.14, 2.1), (0.14, 2.1), (0.3, 3.0), (-0.3, 3.0)),
            colours.accent.base,
            colours.accent.line,
            _LINE,
        )


def _blazer(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    white = palette.tone(palette.Paint((248, 247, 246), palette.Role.WHITE))
    _torso(pen, colours.cloth, curves.points((0.55, 1.45), (0.0, 2.9), (-0.55, 1.45)))
    pen.fill(
        curves.points(
            (0.50, 1.42), (0.0, 2.85), (-0.50, 1.42), (-0.3, 1.6), (0.0, 1.75), (0.3, 1.6)
        ),
        white.base,
    )
    pen.fill(curves.points((0.50, 1.42), (0.0, 2.85), (0.06, 1.8), (0.3, 1.6)), white.shade)
    if rng.random() < 0.5:
        _tie(pen, colours.accent)
    lapel = curves.points(
        (0.50, 1.42),
        (0.78, 1.52),
        (0.80, 1.95),
        (0.66, 2.02),
        (0.70, 2.12),
        (0.02, 3.0),
        (0.0, 2.85),
    )
    _pair(pen, lapel, colours.cloth)
    collar = curves.points((0.36, 1.28), (0.62, 1.46), (0.40, 1.86), (0.0, 1.62), (0.10, 1.58))
    _pair(pen, collar, white)
    if rng.random() < 0.5:
        bow(pen, 0.0, 1.72, 0.42, colours.accent)


def _shirt(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    _torso(pen, colours.cloth, curves.points((0.42, 1.38), (0.0, 1.85), (-0.42, 1.38)))
    pen.line(curves.points((0.0, 1.8), (0.01, 2.4), (0.0, 3.0)), _LINE, colours.cloth.line, 1, 1)
    for y in (2.05, 2.45):
        pen.shape(
            curves.ellipse(0.09, y, 0.04, 0.04, count=10),
            colours.trim.base,
            colours.trim.line,
            0.018,
        )
    collar = curves.points((0.36, 1.28), (0.60, 1.44), (0.46, 1.92), (0.0, 1.68), (0.12, 1.56))
    is_trim = colours.chooses("trim_collar", 0.5, rng)
    _pair(pen, collar, colours.trim if is_trim else colours.cloth)
    if rng.random() < 0.4:
        bow(pen, 0.0, 1.78, 0.45, colours.accent)


def _hoodie(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    cloth = colours.cloth
    _torso(pen, cloth, curves.points((0.55, 1.45), (0.0, 1.95), (-0.55, 1.45)), width=1.06)
    hood = curves.spline(
        curves.points(
            (0.38, 1.12),
            (0.80, 1.16),
            (1.04, 1.48),
            (0.70, 1.86),
            (0.12, 2.12),
            (0.04, 1.98),
            (0.42, 1.62),
        ),
        closed=True,
        count=4,
    )
    _pair(pen, hood, cloth)
    for x in (-0.16, 0.16):
        pen.line(curves.points((x, 2.0), (1.1 * x, 2.3), (x, 2.6)), 0.05, colours.trim.base, 1, 1)
        pen.line(
            curves.points((x + 0.03, 2.0), (1.1 * x + 0.03, 2.3), (x + 0.03, 2.6)),
            0.02,
            cloth.line,
            1,
            1,
        )


def _round_neck(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    depth = rng.uniform(1.58, 1.85)
    neck = curves.bezier(
        curves.points((0.52, 1.46), (0.3, depth), (-0.3, depth), (-0.52, 1.46)), 14
    )
    _torso(pen, colours.cloth, neck)
    pen.line(neck + np.array([0.0, 0.05]), 0.09, colours.trim.base, 1, 1)
    pen.line(neck + np.array([0.0, 0.10]), _LINE, colours.cloth.line, 1, 1)
    if rng.random() < 0.5:
        for y in (2.3, 2.6, 2.9):
            pen.line(
                curves.points((-1.02, y), (0.0, y + 0.06), (1.02, y)), 0.10, colours.trim.base, 1, 1
            )


def _turtleneck(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    cloth = colours.cloth
    neck = curves.bezier(curves.points((0.46, 1.42), (0.2, 1.6), (-0.2, 1.6), (-0.46, 1.42)), 10)
    _torso(pen, cloth, neck)
    roll = curves.spline(
        curves.points(
            (0.37, 1.14), (0.0, 1.26), (-0.37, 1.14), (-0.50, 1.48), (0.0, 1.66), (0.50, 1.48)
        ),
        closed=True,
        count=5,
    )
    pen.shape(roll, cloth.base, cloth.line, _LINE)
    for x in (-0.28, -0.1, 0.1, 0.28):
        pen.line(curves.points((0.9 * x, 1.28), (x, 1.42), (1.15 * x, 1.56)), 0.018, cloth.line)


def _kimono(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    _torso(pen, colours.cloth, curves.points((0.46, 1.40), (0.0, 2.1), (-0.46, 1.40)))
    band = curves.points((0.34, 1.26), (0.56, 1.40), (-0.42, 2.9), (-0.62, 2.7), (0.02, 1.98))
    for flip, shift in ((1.0, 0.0), (-1.0, 0.0)):
        path = band * np.array([flip, 1.0])
        pen.shape(path, colours.trim.base, colours.trim.line, _LINE)
        inner = curves.points((0.56, 1.40), (0.68, 1.48), (-0.30, 2.98), (-0.42, 2.9)) * np.array(
            [flip, 1.0]
        )
        pen.shape(inner + np.array([shift, 0.0]), colours.accent.base, colours.accent.line, _LINE)


def _straps(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    cloth = colours.cloth
    top = curves.bezier(curves.points((1.12, 2.20), (0.4, 2.36), (-0.4, 2.36), (-1.12, 2.20)), 12)
    body = np.concatenate([top, curves.points((-1.2, 3.2), (1.2, 3.2))])
    for side in (-1, 1):
        pen.line(
            curves.points((side * 0.62, 1.50), (side * 0.70, 1.9), (side * 0.72, 2.3)),
            0.15,
            cloth.line,
            1,
            1,
        )
        pen.line(
            curves.points((side * 0.62, 1.50), (side * 0.70, 1.9), (side * 0.72, 2.3)),
            0.10,
            cloth.base,
            1,
            1,
        )
        pen.line(
            curves.points((side * 0.2, 1.72), (side * 0.45, 1.66), (side * 0.75, 1.70)),
            0.022,
            colours.skin.line,
        )
    pen.shape(body, cloth.base, cloth.line, _LINE)
    pen.line(top + np.array([0.0, 0.09]), 0.05, colours.trim.base, 1, 1)


_GARMENTS = (_sailor, _blazer, _shirt, _hoodie, _round_neck, _turtleneck, _kimono, _straps)
