"""Eyes and brows: lids, lashes, irises with pupils and lights."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, palette

_LINE = 0.022


@dataclasses.dataclass(frozen=True)
class Eyes:
    """The traits both eyes of a face share, in head units.

    Attributes:
        x: Distance of the centre from the axis of the face.
        y: Height of the centre.
        width: Width of the opening.
        height: Height of the opening.
        slant: Rise of the outer corner as a fraction of the height; negative droops.
        peak: Shift of the highest point outwards, as a fraction of the width.
        taper: How much narrower the lower lid is, as a fraction of the width.
        lid: Fraction of the opening the upper lid covers.
        lash: Thickness of the upper lash line.
        iris: Width of the iris as a fraction of the opening.
        gaze: Shift of the irises, (x, y).
        pupil: 0 round, 1 slit, 2 none, 3 ring.
        lights: 0 to 2, arrangement of the lights.
        lashes: Number of single lashes at the outer corner.
        closed: For the left and the right eye: 0 open, 1 smiling, 2 asleep.
        brow_lift: Height of the brows above the eyes.
        brow_slant: Positive: angry, negative: sad.
        brow_width: Thickness of the brows.
    """

    x: float
    y: float
    width: float
    height: float
    slant: float
    peak: float
    taper: float
    lid: float
    lash: float
    iris: float
    gaze: tuple[float, float]
    pupil: int
    lights: int
    lashes: int
    closed: tuple[int, int]
    brow_lift: float
    brow_slant: float
    brow_width: float


def sample(rng: np.random.Generator, boyish: bool) -> Eyes:
    """Draws the traits of a pair of eyes."""
    height = rng.uniform(0.40, 0.56) if boyish else rng.uniform(0.48, 0.72)
    mood = rng.random()
    if mood < 0.045:
        kind = int(rng.integers(1, 3))
        closed = (kind, kind)
    elif mood < 0.07:
        closed = ((1, 0), (0, 1))[rng.integers(2)]
    else:
        closed = (0, 0)
    return Eyes(
        x=rng.uniform(0.43, 0.48),
        y=rng.uniform(0.16, 0.24),
        width=rng.uniform(0.54, 0.64) + 0.12 * (height - 0.55),
        height=height,
        slant=rng.normal(0.08, 0.13),
        peak=rng.uniform(-0.08, 0.14),
        taper=rng.uniform(0.0, 0.22),
        lid=float(rng.choice([0.0, 0.0, 0.0, 0.12, 0.25])),
        lash=rng.uniform(0.07, 0.115),
        iris=rng.uniform(0.68, 0.84),
        gaze=(float(np.clip(rng.normal(0, 0.025), -0.06, 0.06)), rng.uniform(-0.01, 0.02)),
        pupil=int(rng.choice(4, p=[0.78, 0.06, 0.06, 0.10])),
        lights=int(rng.integers(3)),
        lashes=int(rng.integers(4)),
        closed=closed,
        brow_lift=rng.uniform(0.12, 0.24),
        brow_slant=rng.normal(0.0, 0.09),
        brow_width=rng.uniform(0.03, 0.065),
    )


def draw(pen: canvas.Pen, eyes: Eyes, colours: palette.Palette) -> None:
    """Draws both eyes."""
    lash_colour = palette.mix(colours.hair.line, (24, 14, 20), 0.65)
    for side, closed in zip((-1, 1), eyes.closed, strict=True):
        if closed:
            _closed_eye(pen, eyes, side, closed == 1, lash_colour)
        else:
            _open_eye(pen, eyes, side, colours, lash_colour)


def draw_brows(pen: canvas.Pen, eyes: Eyes, colours: palette.Palette) -> None:
    """Draws the brows; they show through the hair, so they come after it."""
    colour = palette.mix(colours.hair.line, colours.hair.shade, 0.25)
    y = eyes.y - eyes.height / 2 - eyes.brow_lift
    tilt = eyes.brow_slant
    for side in (-1, 1):
        inner, outer = eyes.x - 0.52 * eyes.width, eyes.x + 0.55 * eyes.width
        control = curves.points(
            (inner, y + tilt),
            (inner + 0.2, y - 0.06),
            (outer - 0.2, y - 0.10 - tilt / 2),
            (outer, y - tilt + 0.02),
        )
        path = curves.bezier(control * np.array([side, 1.0]), 12)
        pen.line(path, eyes.brow_width, colour, start=0.6, end=0.15)


def _lids(eyes: Eyes) -> tuple[np.ndarray, np.ndarray]:
    """Returns the upper lid (inner to outer corner) and the lower one (outer to inner)."""
    w, h = eyes.width, eyes.height
    top = -0.5 + eyes.lid
    peak = eyes.peak
    outer = (0.5 * w, (-0.02 - eyes.slant) * h)
    inner = (-0.5 * w, (0.10 + 0.5 * eyes.slant) * h)
    upper = curves.bezier(
        curves.points(
            inner,
            ((peak - 0.40) * w, (top - 0.20) * h),
            ((peak + 0.18) * w, (top - 0.20 - 0.4 * eyes.slant) * h),
            outer,
        ),
        20,
    )
    lower = curves.bezier(
        curves.points(
            outer, ((0.48 - eyes.taper) * w, 0.60 * h), ((eyes.taper - 0.36) * w, 0.64 * h), inner
        ),
        18,
    )
    return upper, lower


def _open_eye(
    pen: canvas.Pen, eyes: Eyes, side: int, colours: palette.Palette, lash_colour: palette.Colour
) -> None:
    flip = np.array([side, 1.0])
    centre = np.array([side * eyes.x, eyes.y])
    upper, lower = (path * flip + centre for path in _lids(eyes))
    opening = np.concatenate([upper, lower[1:-1]])
    white = palette.Paint(
        palette.mix((250, 250, 252), colours.skin.base, 0.06), palette.Role.EYE_WHITE
    )
    pen.fill(opening, white)
    with pen.clip(opening) as inside:
        shadow = upper + np.array([0.0, 0.06 * eyes.height])
        inside.line(shadow, 0.16 * eyes.height, palette.mix(white, colours.skin.shade, 0.55), 1, 1)
        _iris(inside, eyes, side, colours.iris)
    _lights(pen, eyes, side, colours.iris)
    w, h = eyes.width, eyes.height
    # Lower lid: its line fades before the inner corner.
    pen.line(lower[1:16], 1.1 * _LINE, lash_colour, start=0.6, end=0.0)
    # Upper lash line, heaviest at the outer corner, with a small wing.
    wing = curves.points((0.58 * w, (-0.02 - eyes.slant) * h - 0.02)) * flip + centre
    path = np.concatenate([upper, wing])
    count = len(path)
    weight = eyes.lash * (0.32 + 0.68 * np.linspace(0, 1, count) ** 0.8)
    weight[-1], weight[-2], weight[0] = 0.0, 0.75 * eyes.lash, 0.01
    lifted = path - np.stack([np.zeros(count), weight], axis=1)
    pen.fill(np.concatenate([path, lifted[::-1]]), lash_colour)
    for i in range(eyes.lashes):
        root = path[count - 3 - 2 * i]
        tip = root + np.array([side * (0.10 + 0.02 * i), -0.07 - 0.035 * i])
        pen.line(np.linspace(root, tip, 4), 0.035, lash_colour, start=1.0, end=0.0)
    # Crease above the lid.
    crease = upper[4:17] - np.array([0.0, 0.055 + eyes.lash])
    pen.line(crease, 0.75 * _LINE, colours.skin.line)


def _iris(pen: canvas.Pen, eyes: Eyes, side: int, iris: palette.Tone) -> None:
    x, y = _iris_centre(eyes, side)
    rx, ry = eyes.iris * eyes.width / 2, 0.54 * eyes.height
    deep = palette.times(iris.base, 0.42, 0.40, 0.50)
    rim = palette.times(iris.base, 0.26, 0.22, 0.28)
    pen.fill(curves.ellipse(x, y, rx, ry), rim)
    pen.fill(curves.ellipse(x, y, rx - 0.026, ry - 0.026), iris.base)
    with pen.clip(curves.ellipse(x, y, rx - 0.026, ry - 0.026)) as inside:
        inside.fill(curves.ellipse(x, y + 0.62 * ry, 0.80 * rx, 0.48 * ry), iris.light)
        inside.fill(curves.ellipse(x, y - 0.72 * ry, 1.2 * rx, 0.92 * ry), deep)
        if eyes.pupil != 2:
            width = (0.46, 0.20, 0.0, 0.50)[eyes.pupil]
            height = (0.42, 0.50, 0.0, 0.44)[eyes.pupil]
            inside.fill(curves.ellipse(x, y - 0.02, width * rx, height * ry), rim)
        if eyes.pupil == 3:
            inside.fill(
                curves.ellipse(x, y - 0.02, 0.30 * rx, 0.26 * ry), palette.mix(iris.base, deep, 0.3)
            )


def _iris_centre(eyes: Eyes, side: int) -> tuple[float, float]:
    return side * (eyes.x - 0.01) + eyes.gaze[0], eyes.y + 0.02 + eyes.gaze[1] + 0.12 * eyes.lid


def _lights(pen: canvas.Pen, eyes: Eyes, side: int, iris: palette.Tone) -> None:
    """Draws the reflections; the light comes from the same side for both eyes."""
    x, y = _iris_centre(eyes, side)
    rx, ry = eyes.iris * eyes.width / 2, (0.5 - 0.5 * eyes.lid) * eyes.height
    size = (1.0, 1.2, 0.85)[eyes.lights]
    pen.fill(
        curves.ellipse(
            x - 0.36 * rx, y - 0.36 * ry, 0.30 * rx * size, 0.25 * ry * size, angle=-0.3, count=18
        ),
        palette.WHITE,
    )
    if eyes.lights != 1:
        pen.fill(
            curves.ellipse(x + 0.38 * rx, y + 0.42 * ry, 0.15 * rx, 0.13 * ry, count=14),
            palette.WHITE,
        )
    if eyes.lights == 2:
        pen.fill(
            curves.ellipse(x + 0.42 * rx, y - 0.10 * ry, 0.10 * rx, 0.09 * ry, count=12), iris.light
        )


def _closed_eye(
    pen: canvas.Pen, eyes: Eyes, side: int, smiling: bool, colour: palette.Colour
) -> None:
    w = eyes.width
    bow = -0.30 if smiling else 0.22
    y = eyes.y + (0.10 if smiling else 0.02)
    control = curves.points((-0.5 * w, 0.0), (-0.25 * w, bow), (0.25 * w, bow), (0.54 * w, -0.02))
    path = curves.bezier(control * np.array([side, 1.0]) + np.array([side * eyes.x, y]), 16)
    pen.line(path, 0.9 * eyes.lash, colour, start=0.2, end=0.5)
    for i in range(eyes.lashes):
        root = path[-1 - 2 * i]
        drop = -0.03 if smiling else 0.08
        tip = root + np.array([side * 0.08, drop])
        pen.line(np.linspace(root, tip, 4), 0.03, colour, start=1.0)
