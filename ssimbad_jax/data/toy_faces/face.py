"""Head without hair: neck, ears, face outline, blush, nose and mouth."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssimbad_jax.data.toy_faces import canvas, curves, palette

_LINE = 0.026
_MOUTH = palette.Paint((150, 40, 50), palette.Role.MOUTH)
_TONGUE = palette.Paint((238, 130, 130), palette.Role.MOUTH)
_TEETH = palette.Paint(palette.WHITE, palette.Role.MOUTH)


@dataclasses.dataclass(frozen=True)
class Face:
    """The traits of a face, in head units.

    Attributes:
        jaw: Width of the jaw as a fraction of the usual one.
        chin: Height of the chin.
        ears: 0 human, 1 pointed.
        blush: 0 none, 1 soft patches, 2 patches with strokes, 3 strokes.
        nose: 0 point, 1 stroke, 2 hook, 3 shadow.
        mouth: Index into the mouths, see `_MOUTHS`.
        mouth_width: Width of the mouth.
        mole: Side of a mole under the eye, 0 for none.
    """

    jaw: float
    chin: float
    ears: int
    blush: int
    nose: int
    mouth: int
    mouth_width: float
    mole: int


def sample(rng: np.random.Generator) -> Face:
    """Draws the traits of a face."""
    return Face(
        jaw=rng.uniform(0.92, 1.06),
        chin=rng.uniform(1.08, 1.22),
        ears=int(rng.random() < 0.03),
        blush=int(rng.choice(4, p=[0.40, 0.35, 0.15, 0.10])),
        nose=int(rng.integers(4)),
        mouth=int(
            rng.choice(len(_MOUTHS), p=[0.29, 0.12, 0.17, 0.08, 0.05, 0.06, 0.08, 0.09, 0.06])
        ),
        mouth_width=rng.uniform(0.20, 0.32),
        mole=int(rng.choice([0, -1, 1], p=[0.93, 0.035, 0.035])),
    )


def outline(face: Face) -> np.ndarray:
    """Returns the closed outline of the face, from the forehead's right side over the chin."""
    j, c = face.jaw, face.chin
    half = curves.points(
        (0.55, -1.15),
        (0.90, -0.75),
        (0.96, -0.25),
        (0.95, 0.10),
        (0.86 * j, 0.44 * c),
        (0.56 * j, 0.76 * c),
        (0.24 * j, 0.945 * c),
        (0.07, 0.995 * c),
        (0.0, 1.0 * c),
    )
    return curves.symmetric(curves.spline(half))


def draw_neck(pen: canvas.Pen, face: Face, skin: palette.Tone) -> None:
    """Draws the neck and the skin of the shoulders, in body coordinates."""
    half = curves.points(
        (0.36, 0.4),
        (0.34, 1.0),
        (0.35, 1.32),
        (0.48, 1.47),
        (0.95, 1.64),
        (1.26, 1.95),
        (1.36, 2.8),
    )
    right = curves.spline(half)
    body = np.concatenate([right, curves.mirror(right)])
    pen.fill(body, skin.base)
    with pen.clip(body) as inside:
        inside.fill(curves.ellipse(0.05, 0.72, 0.95, 0.62 + 0.25 * (face.chin - 1.0)), skin.shade)
    pen.line(right[6:], _LINE, skin.line, start=0.6)
    pen.line(curves.mirror(right[6:])[::-1], _LINE, skin.line, start=0.6)


def draw_head(pen: canvas.Pen, face: Face, colours: palette.Palette) -> None:
    """Draws ears, the face's skin and its outline."""
    skin = colours.skin
    for side in (-1, 1):
        flip = np.array([side, 1.0])
        if face.ears:
            knots = curves.points(
                (0.92, 0.0), (1.15, -0.12), (1.55, -0.32), (1.32, 0.16), (1.05, 0.40), (0.88, 0.42)
            )
        else:
            knots = curves.points(
                (0.92, -0.02),
                (1.06, -0.10),
                (1.17, -0.02),
                (1.13, 0.22),
                (1.02, 0.42),
                (0.88, 0.42),
            )
        ear = curves.spline(knots * flip)
        pen.shape(ear, skin.base, skin.line, _LINE)
        fold = curves.bezier(
            curves.points((0.99, 0.02), (1.10, -0.03), (1.10, 0.12), (1.00, 0.26)) * flip, 10
        )
        pen.line(fold, 0.02, skin.line)
    front = pen.at(0.5)
    path = outline(face)
    front.fill(path, skin.base)
    front.line(path[12:-12], 1.1 * _LINE, skin.line, start=0.4, end=0.4)


def draw_shadow(pen: canvas.Pen, face: Face, hair: list[np.ndarray], skin: palette.Tone) -> None:
    """Draws the shadow that polygons of hair cast on the face."""
    with pen.at(0.5).clip(outline(face)) as inside:
        shadow = inside.at(0.8)
        for path in hair:
            shadow.fill(path + np.array([0.035, 0.09]), skin.shade)


def draw_features(pen: canvas.Pen, face: Face, eye_y: float, colours: palette.Palette) -> None:
    """Draws blush, nose and mouth."""
    _blush(pen, face, eye_y, colours)
    _nose(pen.at(1.25), face, colours.skin)
    y = 0.53 * face.chin + 0.23
    _MOUTHS[face.mouth](pen, y, face.mouth_width, colours.skin)
    if face.mole:
        pen.fill(
            curves.ellipse(face.mole * 0.62, eye_y + 0.42, 0.02, 0.02, count=10), colours.skin.line
        )


def _blush(pen: canvas.Pen, face: Face, eye_y: float, colours: palette.Palette) -> None:
    y = eye_y + 0.42
    with pen.at(0.5).clip(outline(face)) as cheeks:
        _cheeks(cheeks.at(1.0), face, y, colours)


def _cheeks(pen: canvas.Pen, face: Face, y: float, colours: palette.Palette) -> None:
    stroke = palette.mix(colours.blush, (200, 60, 60), 0.45)
    for side in (-1, 1):
        if face.blush in (1, 2):
            faint = palette.Paint(
                palette.mix(colours.skin.base, colours.blush, 0.45), palette.Role.BLUSH
            )
            pen.fill(curves.ellipse(side * 0.58, y, 0.235, 0.12), faint)
            pen.fill(
                curves.ellipse(side * 0.58, y, 0.17, 0.085), palette.mix(faint, colours.blush, 0.6)
            )
        if face.blush in (2, 3):
            for i in (-1, 0, 1):
                x = side * 0.58 + 0.09 * i
                pen.line(np.linspace((x + 0.03, y - 0.05), (x - 0.03, y + 0.05), 5), 0.022, stroke)


def _nose(pen: canvas.Pen, face: Face, skin: palette.Tone) -> None:
    y = 0.30 * face.chin + 0.22
    if face.nose == 0:
        pen.line(np.linspace((0.0, y - 0.02), (0.015, y + 0.025), 5), 0.034, skin.line, 0.3, 0.3)
    elif face.nose == 1:
        pen.line(np.linspace((0.02, y - 0.09), (0.0, y + 0.03), 6), 0.028, skin.line)
    elif face.nose == 2:
        path = curves.bezier(
            curves.points((0.015, y - 0.10), (0.05, y), (0.05, y + 0.03), (-0.04, y + 0.035)), 10
        )
        pen.line(path, 0.026, skin.line)
    else:
        pen.fill(curves.points((0.0, y - 0.07), (0.06, y + 0.03), (-0.01, y + 0.04)), skin.shade)
        pen.line(np.linspace((0.05, y + 0.03), (-0.02, y + 0.04), 5), 0.024, skin.line)


def _smile(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    path = curves.bezier(
        curves.points((-w, y - 0.03), (-0.4 * w, y + 0.06), (0.4 * w, y + 0.06), (w, y - 0.03)), 14
    )
    pen.line(path, 0.032, skin.line, 0.2, 0.2)


def _flat(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    path = curves.bezier(
        curves.points((-0.6 * w, y), (-0.2 * w, y - 0.015), (0.2 * w, y - 0.015), (0.6 * w, y)), 10
    )
    pen.line(path, 0.032, skin.line, 0.2, 0.2)


def _open_smile(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    top = curves.bezier(
        curves.points((-w, y - 0.05), (-0.4 * w, y), (0.4 * w, y), (w, y - 0.05)), 10
    )
    bottom = curves.bezier(
        curves.points((w, y - 0.05), (0.75 * w, y + 0.26), (-0.75 * w, y + 0.26), (-w, y - 0.05)),
        14,
    )
    _cavity(pen, np.concatenate([top, bottom[1:-1]]), skin, tongue_y=y + 0.19, tongue_width=0.6 * w)
    pen.line(top, 0.034, skin.line, 0.3, 0.3)


def _round(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    _cavity(pen, curves.ellipse(0.0, y + 0.02, 0.32 * w, 0.085, count=20), skin, y + 0.10, 0.2 * w)


def _frown(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    path = curves.bezier(
        curves.points(
            (-0.7 * w, y + 0.05), (-0.3 * w, y - 0.04), (0.3 * w, y - 0.04), (0.7 * w, y + 0.05)
        ),
        12,
    )
    pen.line(path, 0.032, skin.line, 0.2, 0.2)


def _cat(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    for side in (-1, 1):
        path = curves.bezier(
            curves.points(
                (0, y - 0.01),
                (side * 0.25 * w, y + 0.09),
                (side * 0.7 * w, y + 0.06),
                (side * 0.85 * w, y - 0.03),
            ),
            12,
        )
        pen.line(path, 0.030, skin.line, 0.5, 0.1)


def _smirk(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    path = curves.bezier(
        curves.points(
            (-0.6 * w, y + 0.01), (0.0, y + 0.035), (0.4 * w, y + 0.02), (0.85 * w, y - 0.06)
        ),
        12,
    )
    pen.line(path, 0.032, skin.line, 0.2, 0.3)


def _parted(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    knots = curves.points(
        (-0.5 * w, y), (0.0, y - 0.03), (0.5 * w, y), (0.38 * w, y + 0.085), (-0.38 * w, y + 0.085)
    )
    _cavity(pen, curves.spline(knots, closed=True, count=4), skin, y + 0.10, 0.35 * w)


def _shout(pen: canvas.Pen, y: float, w: float, skin: palette.Tone) -> None:
    knots = curves.points(
        (-0.55 * w, y - 0.05),
        (0.0, y - 0.09),
        (0.55 * w, y - 0.05),
        (0.6 * w, y + 0.10),
        (0.0, y + 0.17),
        (-0.6 * w, y + 0.10),
    )
    path = curves.spline(knots, closed=True, count=4)
    _cavity(pen, path, skin, y + 0.17, 0.5 * w)
    with pen.clip(path) as inside:
        inside.fill(
            curves.points((-w, y - 0.2), (w, y - 0.2), (w, y - 0.025), (-w, y - 0.025)),
            _TEETH,
        )
    pen.outline(path, 0.026, skin.line)


_MOUTHS = (_smile, _flat, _open_smile, _round, _frown, _cat, _smirk, _parted, _shout)


def _cavity(
    pen: canvas.Pen, path: np.ndarray, skin: palette.Tone, tongue_y: float, tongue_width: float
) -> None:
    pen.fill(path, _MOUTH)
    with pen.clip(path) as inside:
        inside.fill(curves.ellipse(0.0, tongue_y, tongue_width, 0.085, count=16), _TONGUE)
    pen.outline(path, 0.024, skin.line)
