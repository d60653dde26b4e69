"""Things worn on the head: glasses, ribbons, bands, clips, flowers, animal ears."""

from __future__ import annotations

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, clothing, curves, eyes, palette

_LINE = 0.026


def draw_behind(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    """Draws animal ears, which stand behind the front hair."""
    if rng.random() > 0.05:
        return
    hair = colours.hair
    inner = palette.Paint(palette.mix(colours.skin.base, (240, 130, 140), 0.4), palette.Role.OTHER)
    for side in (-1, 1):
        flip = np.array([side, 1.0])
        ear = curves.spline(
            curves.points((0.35, -1.35), (0.72, -2.02), (0.86, -2.06), (1.05, -1.6), (1.08, -0.95))
            * flip,
            count=5,
        )
        pen.shape(ear, hair.base, hair.line, 1.2 * _LINE)
        pen.fill(curves.points((0.55, -1.45), (0.80, -1.90), (0.95, -1.2)) * flip, inner)


def draw_on_hair(
    pen: canvas.Pen,
    rng: np.random.Generator,
    volume: float,
    girlish: bool,
    colours: palette.Palette,
) -> None:
    """Draws ribbons, bands and clips, mostly on girls."""
    if rng.random() > (0.45 if girlish else 0.06):
        return
    pen = pen.at(0.5)
    side = rng.choice([-1, 1])
    kind = rng.integers(6)
    tone = colours.accent if colours.chooses("accent_ornament", 0.7, rng) else colours.trim
    if kind == 0:
        _band(pen, volume, tone)
    elif kind == 1:
        _band(pen, volume, tone)
        clothing.bow(pen, side * 0.62, -1.42 * volume, 0.42, tone, angle=side * 0.5)
    elif kind == 2:
        for x in (-1, 1) if rng.random() < 0.5 else (side,):
            clothing.bow(pen, x * 0.98, -1.02, rng.uniform(0.32, 0.46), tone, angle=x * 0.9)
    elif kind == 3:
        for i in range(int(rng.integers(1, 3))):
            y = -0.52 + 0.16 * i
            pen.line(
                curves.points((side * 0.62, y - 0.06), (side * 0.78, y), (side * 0.94, y + 0.06)),
                0.13,
                tone.line,
                0.9,
                0.9,
            )
            pen.line(
                curves.points((side * 0.65, y - 0.05), (side * 0.78, y), (side * 0.91, y + 0.05)),
                0.08,
                tone.base,
                0.9,
                0.9,
            )
    elif kind == 4:
        _flower(pen, side * 0.88, -0.82, rng.uniform(0.16, 0.24), tone)
    else:
        clothing.bow(
            pen, side * 0.25, -1.32 * volume, rng.uniform(0.45, 0.6), tone, angle=side * 0.2
        )


def draw_on_face(
    pen: canvas.Pen, rng: np.random.Generator, pair: eyes.Eyes, colours: palette.Palette
) -> None:
    """Draws glasses."""
    if rng.random() > 0.11:
        return
    dark = colours.chooses("dark_frame", 0.6, rng)
    frame = (46, 36, 42) if dark else palette.times(colours.accent.base, 0.7, 0.6, 0.65)
    rx, ry = 0.37, rng.uniform(0.27, 0.36)
    square = rng.random() < 0.5
    y = pair.y + 0.04
    for side in (-1, 1):
        if square:
            knots = curves.points(
                (-1, -0.8),
                (-0.85, -1),
                (0.85, -1),
                (1, -0.8),
                (0.85, 0.85),
                (0.6, 1),
                (-0.6, 1),
                (-0.85, 0.85),
            )
            rim = knots * np.array([rx, ry]) + np.array([side * pair.x, y])
        else:
            rim = curves.ellipse(side * pair.x, y, rx, ry)
        pen.outline(rim, 0.042, frame)
        glint = np.linspace((side * pair.x - 0.2, y + 0.12), (side * pair.x - 0.05, y - 0.14), 5)
        pen.line(glint, 0.03, palette.WHITE)
        pen.at(0.6).line(
            np.linspace((side * (pair.x + rx), y - 0.05), (side * 0.99, y - 0.1), 5),
            0.04,
            frame,
            1,
            1,
        )
    bridge = curves.bezier(
        curves.points((rx - pair.x, y), (-0.04, y - 0.07), (0.04, y - 0.07), (pair.x - rx, y)), 8
    )
    pen.line(bridge, 0.042, frame, 1, 1)


def draw_on_neck(pen: canvas.Pen, rng: np.random.Generator, colours: palette.Palette) -> None:
    """Draws a choker, in body coordinates."""
    if rng.random() > 0.06:
        return
    path = curves.bezier(
        curves.points((0.36, 1.16), (0.15, 1.26), (-0.15, 1.26), (-0.36, 1.16)), 10
    )
    pen.line(path, 0.12, colours.accent.line, 1, 1)
    pen.line(path, 0.08, colours.accent.base, 1, 1)


def _band(pen: canvas.Pen, volume: float, tone: palette.Tone) -> None:
    path = curves.bezier(
        curves.points(
            (-1.13 * volume, -0.55),
            (-0.85, -1.62 * volume),
            (0.85, -1.62 * volume),
            (1.13 * volume, -0.55),
        ),
        24,
    )
    pen.line(path, 0.19, tone.line, 0.8, 0.8)
    pen.line(path, 0.14, tone.base, 0.8, 0.8)
    pen.line(path[6:18] - np.array([0.0, 0.02]), 0.04, tone.light)


def _flower(pen: canvas.Pen, x: float, y: float, size: float, tone: palette.Tone) -> None:
    for angle in np.arange(5) * (2 * np.pi / 5) + 0.3:
        petal = curves.ellipse(
            x + size * 0.62 * np.cos(angle),
            y + size * 0.62 * np.sin(angle),
            0.5 * size,
            0.42 * size,
            angle=angle,
            count=14,
        )
        pen.shape(petal, tone.base, tone.line, 0.02)
    pen.shape(
        curves.ellipse(x, y, 0.3 * size, 0.3 * size, count=12), (250, 220, 90), tone.line, 0.018
    )
