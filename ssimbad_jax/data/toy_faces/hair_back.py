"""Back hair: everything behind the face, from bobs to twin tails."""

from __future__ import annotations

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, locks, palette

_SHORT, _BOB, _LONG, _WAVY, _TWIN, _LOW_TWIN, _PONYTAIL, _SIDE_TAIL, _BUNS, _BRAIDS = range(10)


def sample(rng: np.random.Generator, boyish: bool) -> int:
    """Draws the kind of back hair."""
    kinds = (
        (0.86, 0.05, 0.03, 0, 0, 0, 0.06, 0, 0, 0)
        if boyish
        else (0.08, 0.19, 0.24, 0.14, 0.11, 0.05, 0.07, 0.04, 0.04, 0.04)
    )
    return int(rng.choice(10, p=kinds))


def draw(
    pen: canvas.Pen, rng: np.random.Generator, kind: int, volume: float, colours: palette.Palette
) -> None:
    """Draws the hair behind the face.

    Args:
        pen: Pen in head coordinates.
        rng: Source of the details.
        kind: From `sample`.
        volume: Width of the hair relative to the skull.
        colours: The character's colours.
    """
    pen = pen.at(-0.3)
    hair = colours.hair
    if kind in (_TWIN, _SIDE_TAIL, _PONYTAIL, _LOW_TWIN, _BUNS):
        _tails(pen, rng, kind, colours)
    base = {_SHORT: 0.70, _BOB: rng.uniform(0.85, 1.2), _LONG: 3.0, _WAVY: 3.0}.get(kind, 0.75)
    if kind == _TWIN and rng.random() < 0.3:
        base = 2.6
    if base > 2:
        _long(pen, rng, volume, hair, wavy=kind == _WAVY)
    elif kind == _BOB:
        _bob(pen, rng, volume, base, hair)
    else:
        _short(pen, rng, volume, base, hair)


def draw_over(
    pen: canvas.Pen, rng: np.random.Generator, kind: int, colours: palette.Palette
) -> None:
    """Draws hair that falls before the shoulders."""
    if kind == _BRAIDS:
        for side in (-1, 1):
            _braid(pen, side, colours)
    elif kind in (_LONG, _WAVY) and rng.random() < 0.6:
        for side in (-1, 1):
            for i in range(int(rng.integers(1, 4))):
                x = 1.12 - 0.13 * i
                sway = rng.uniform(-0.12, 0.12) * (2.0 if kind == _WAVY else 1.0)
                end = rng.uniform(1.7, 3.2)
                control = curves.points(
                    (side * 1.06, -0.1),
                    (side * (x + 0.12 + sway), 0.8),
                    (side * (x - 0.1 - sway), 1.4),
                    (side * (x + sway), end),
                )
                locks.draw(pen, locks.lock(control, 0.2, blunt=3.0, lines_from=0.15), colours.hair)


def _long(
    pen: canvas.Pen, rng: np.random.Generator, volume: float, hair: palette.Tone, *, wavy: bool
) -> None:
    flare = rng.uniform(1.05, 1.5)
    knots = [(0.0, -1.55), (0.8, -1.3), (1.12 * volume, -0.6), (1.16 * volume, 0.1)]
    for i, y in enumerate(np.linspace(0.55, 3.4, 6 if wavy else 4)):
        wave = (0.10 * (-1) ** i if wavy else 0.0) + rng.uniform(-0.03, 0.03)
        knots.append((1.15 * volume + (flare - 1.05) * y / 2 + wave, y))
    right = curves.spline(np.array(knots), count=8 if wavy else 5)
    body = np.concatenate([right, curves.mirror(right)])
    pen.fill(body, hair.base)
    inner = curves.points((0.62, -0.5), (0.95, 0.5), (0.80, 1.2), (0.72, 3.4))
    pen.fill(np.concatenate([inner, curves.mirror(inner)]), hair.shade)
    for side in (-1, 1):
        flip = np.array([side, 1.0])
        pen.line(right * flip, 1.2 * locks.LINE, hair.line, start=0.6, end=1.0)
        for _ in range(4):
            x = rng.uniform(0.72, 1.12)
            bend = rng.uniform(-0.08, 0.08) * (2.0 if wavy else 1.0)
            start = rng.uniform(0.0, 0.9)
            control = curves.points(
                (x, start),
                (x + 0.08 + bend, start + 0.6),
                (x - bend, start + 1.2),
                (x + 0.15, start + 1.9),
            )
            locks.strand(pen, control * flip, hair)


def _bob(
    pen: canvas.Pen, rng: np.random.Generator, volume: float, end: float, hair: palette.Tone
) -> None:
    bulge = rng.uniform(1.18, 1.38) * volume
    curl = rng.uniform(-0.30, 0.16)
    knots = curves.points(
        (0.0, -1.55),
        (0.8, -1.3),
        (1.12 * volume, -0.6),
        (0.5 * (bulge + 1.15), 0.1),
        (bulge, 0.62 * end),
        (bulge + curl, end),
    )
    right = curves.spline(knots)
    teeth = []
    count = int(rng.integers(7, 12))
    for i, x in enumerate(np.linspace(right[-1, 0], -right[-1, 0], count)[1:-1]):
        teeth.append((x, end - 0.02 + (0.06 if i % 2 else -0.09) + rng.uniform(-0.03, 0.03)))
    body = np.concatenate([right, np.array(teeth), curves.mirror(right)])
    pen.fill(body, hair.base)
    inner = curves.points((0.6, -0.5), (0.98, 0.3), (0.80, end - 0.06))
    pen.fill(np.concatenate([inner, curves.mirror(inner)]), hair.shade)
    pen.outline(body, 1.2 * locks.LINE, hair.line)
    for side in (-1, 1):
        for x in (0.98, 1.12):
            control = curves.points(
                (x, -0.2),
                (x + 0.1, 0.2),
                (x * bulge / 1.1, 0.5 * end),
                (x * (bulge + curl) / 1.15, 0.9 * end),
            )
            locks.strand(pen, control * np.array([side, 1.0]), hair)


def _short(
    pen: canvas.Pen, rng: np.random.Generator, volume: float, end: float, hair: palette.Tone
) -> None:
    skull = curves.symmetric(
        curves.spline(
            curves.points(
                (0.62, end), (1.02 * volume, 0.35), (1.12 * volume, -0.4), (0.8, -1.3), (0.0, -1.55)
            )
        )
    )
    pen.shape(skull, hair.shade, hair.line, 1.2 * locks.LINE)
    for side in (-1, 1):
        for i in range(int(rng.integers(2, 5))):
            y = 0.1 + 0.22 * i
            out = rng.uniform(1.08, 1.32) - 0.14 * i
            control = curves.points(
                (side * 0.8, y - 0.7),
                (side * 1.1 * volume, y - 0.4),
                (side * 1.1, y),
                (side * out, y + rng.uniform(0.18, 0.34)),
            )
            locks.draw(pen, locks.lock(control, 0.17, blunt=2.0), hair)


def _tails(pen: canvas.Pen, rng: np.random.Generator, kind: int, colours: palette.Palette) -> None:
    hair = colours.hair
    if kind == _BUNS:
        radius = rng.uniform(0.36, 0.5)
        for side in (-1, 1):
            bun = curves.ellipse(side * 0.95, -1.32, radius, radius * 0.92)
            pen.shape(bun, hair.base, hair.line, 1.2 * locks.LINE)
            with pen.clip(bun) as inside:
                inside.fill(
                    curves.ellipse(side * 0.95 + 0.25, -1.05, radius, radius * 0.8), hair.shade
                )
            swirl = curves.bezier(
                curves.points(
                    (side * 0.75, -1.2),
                    (side * 0.8, -1.6),
                    (side * 1.25, -1.5),
                    (side * 1.05, -1.2),
                ),
                12,
            )
            pen.line(swirl, locks.LINE, hair.line)
        return
    roots: list[tuple[float, float]] = {
        _TWIN: [(-1.06, -0.95), (1.06, -0.95)],
        _LOW_TWIN: [(-0.85, 0.55), (0.85, 0.55)],
        _SIDE_TAIL: [(float(rng.choice([-1, 1])) * 1.05, -0.75)],
        _PONYTAIL: [(float(rng.choice([-1, 1])) * 0.45, -1.45)],
    }[kind]
    reach, drop, curl = rng.uniform(0.35, 0.75), rng.uniform(1.7, 3.4), rng.uniform(-0.3, 0.35)
    for x, y in roots:
        side = 1 if x > 0 else -1
        out = reach + (0.55 if kind == _PONYTAIL else 0.0)
        for i, spread in enumerate((0.26, -0.2, 0.0)):
            control = curves.points(
                (x, y),
                (x + side * (0.75 * out + spread), y - 0.35 + 0.25 * i),
                (x + side * (out + 0.1 + spread), y + 0.45 * drop),
                (x + side * (0.6 * out + spread * 1.5 - curl), y + drop),
            )
            one = locks.lock(control, 0.25, blunt=2.4, root=0.45, lines_from=0.0, shade_from=0.15)
            locks.draw(pen, one, hair)
        tie = curves.ellipse(x + side * 0.04, y + 0.02, 0.13, 0.17, angle=-side * 0.5, count=18)
        pen.shape(tie, colours.accent.base, colours.accent.line, locks.LINE)


def _braid(pen: canvas.Pen, side: int, colours: palette.Palette) -> None:
    hair = colours.hair
    for i in range(6, -1, -1):
        y = 0.75 + 0.24 * i
        for lean in (-1, 1):
            knot = curves.ellipse(
                side * 0.98 + lean * 0.07, y, 0.10, 0.17, angle=lean * 0.6, count=16
            )
            pen.shape(knot, hair.base if lean < 0 else hair.shade, hair.line, locks.LINE)
