"""Front hair: the cap over the skull, bangs, side locks and stray hairs."""

from __future__ import annotations

import dataclasses

import numpy as np

from ssimbad_jax.data.toy_faces import bangs, canvas, curves, locks, palette


@dataclasses.dataclass(frozen=True)
class FrontHair:
    """Geometry of the front hair, in head units.

    Attributes:
        crest: Upper contour of the hair, from the right ear over the crown.
        hairline: Its lower edge on the forehead, back from left to right.
        tousled: Whether spikes take the place of the contour on top.
        spikes: Locks that stick out of the crest.
        bangs: Locks on the forehead, in the order they are drawn.
        sides: Locks before the ears.
        strays: Control points [4, 2] of single raised hairs.
        strands: Control points [4, 2] of lines on the hair.
        shine: Heights between which the hair shines, or None.
    """

    crest: np.ndarray
    hairline: np.ndarray
    tousled: bool
    spikes: list[locks.Lock]
    bangs: list[locks.Lock]
    sides: list[locks.Lock]
    strays: list[np.ndarray]
    strands: list[np.ndarray]
    shine: tuple[float, float] | None


def _crest(rng: np.random.Generator, volume: float) -> np.ndarray:
    """Returns the upper contour of the hair [N, 2], from the right ear over the crown."""
    half = curves.points(
        (1.04, 0.25),
        (1.16 * volume, -0.25),
        (1.17 * volume, -0.75),
        (0.95 * volume, -1.24),
        (0.52 * volume, -1.52 * volume),
        (0.0, -1.62 * volume),
    )
    knots = curves.symmetric(half)
    knots[1:-1] *= rng.uniform(0.97, 1.035, (len(knots) - 2, 1))
    return curves.spline(knots)


def sample(rng: np.random.Generator, volume: float, boyish: bool) -> FrontHair:
    """Draws the shape of the front hair for a skull of the given hair volume."""
    style = bangs.sample_style(rng, boyish)
    parting = bangs.sample_parting(rng, style)
    open_forehead = style in (bangs.PARTED, bangs.SWEPT)
    crest, hairline = _crest(rng, volume), _hairline(parting, -1.06 if open_forehead else -0.55)
    forehead = bangs.sample(rng, style, parting, volume)
    strands = [_parting_line(parting, volume)] if open_forehead else []
    tousled = style == bangs.SPIKY or (boyish and rng.random() < 0.25)
    spikes = _spikes(rng, volume) if tousled else _flicks(rng, volume)
    sides = _sides(rng, volume, boyish)
    strays = _strays(rng, parting, volume) if rng.random() < 0.3 else []
    centre = rng.uniform(-0.98, -0.80)
    shine = (
        (centre - rng.uniform(0.07, 0.13), centre + rng.uniform(0.09, 0.16))
        if rng.random() < 0.8
        else None
    )
    return FrontHair(crest, hairline, tousled, spikes, forehead, sides, strays, strands, shine)


def _hairline(parting: float, height: float) -> np.ndarray:
    """Returns the lower edge of the cap, from left to right, highest at the parting."""
    halves = [
        curves.bezier(
            curves.points(
                (side * 0.98, -0.35),
                (side * 0.86, -0.75),
                (parting + side * 0.30, 0.75 * height - 0.15),
                (parting, height),
            ),
            10,
        )
        for side in (-1, 1)
    ]
    return np.concatenate([halves[0], halves[1][-2::-1]])


def _parting_line(parting: float, volume: float) -> np.ndarray:
    """Returns the control points of the line from the forehead to the crown."""
    return curves.points(
        (parting, -0.9), (parting, -1.15), (0.9 * parting, -1.35), (0.7 * parting, -1.55 * volume)
    )


def _sides(rng: np.random.Generator, volume: float, boyish: bool) -> list[locks.Lock]:
    length = rng.uniform(0.25, 0.6) if boyish or rng.random() < 0.35 else rng.uniform(0.6, 1.9)
    curl = rng.uniform(-0.10, 0.12)
    sides = []
    for side in (-1, 1):
        for i in range(int(rng.integers(1, 3)), 0, -1):
            x = 0.93 + 0.07 * i
            y = length * (1.0 - 0.25 * (i - 1)) + rng.uniform(-0.08, 0.08)
            control = curves.points(
                (side * 0.66, -1.02),
                (side * 1.08 * volume, -0.85),
                (side * (x + 0.10 + curl), 0.3 * y),
                (side * (x - 0.07 - curl), y),
            )
            sides.append(
                locks.lock(
                    control, rng.uniform(0.13, 0.19), blunt=float(rng.choice([2.2, 3.0, 6.0]))
                )
            )
    return sides


def _spikes(rng: np.random.Generator, volume: float) -> list[locks.Lock]:
    spikes = []
    for angle in np.linspace(-1.25, 1.25, int(rng.integers(7, 11))) + rng.uniform(-0.06, 0.06):
        root = np.array([0.75 * np.sin(angle), -0.55 - 0.65 * np.cos(angle)])
        out = np.array([np.sin(angle), -np.cos(angle)])
        length = rng.uniform(0.50, 0.78)
        sway = np.array([rng.uniform(-0.2, 0.2), rng.uniform(-0.05, 0.05)])
        control = np.stack(
            [
                root,
                root + 0.35 * out,
                root + 0.7 * length * out,
                root + length * out * volume + sway,
            ]
        )
        spikes.append(locks.lock(control, rng.uniform(0.2, 0.28), blunt=1.8, root=0.9))
    return spikes


def _flicks(rng: np.random.Generator, volume: float) -> list[locks.Lock]:
    """Returns a few short locks that stick out of the contour at the sides."""
    flicks = []
    for side in (-1, 1):
        for _ in range(int(rng.choice(4, p=[0.35, 0.3, 0.25, 0.1]))):
            y, out = rng.uniform(-1.1, 0.0), rng.uniform(0.10, 0.26)
            x = volume * 1.15 * np.sqrt(max(1.0 - ((y + 0.45) / 1.35) ** 2, 0.3))
            control = curves.points(
                (side * 0.70 * x, y - 0.02),
                (side * 0.85 * x, y - 0.06),
                (side * (x + 0.2 * out), y - 0.04),
                (side * (x + out), y + rng.uniform(0.10, 0.3)),
            )
            flicks.append(locks.lock(control, rng.uniform(0.09, 0.14), blunt=1.6, root=0.9))
    return flicks


def _strays(rng: np.random.Generator, x: float, volume: float) -> list[np.ndarray]:
    side = rng.choice([-1, 1])
    height = rng.uniform(0.18, 0.42)
    strays = []
    for i in range(int(rng.integers(1, 3))):
        top = -1.58 * volume
        strays.append(
            curves.points(
                (x + 0.04 * i, top + 0.06),
                (x - side * 0.10, top - height),
                (x + side * (0.25 + 0.1 * i), top - height),
                (x + side * (0.34 + 0.12 * i), top - 0.3 * height + 0.1 * i),
            )
        )
    return strays


def draw(pen: canvas.Pen, front: FrontHair, hair: palette.Tone) -> None:
    """Draws the front hair."""
    pen = pen.at(0.55)
    for control in front.strays:
        locks.draw(pen, locks.lock(control, 0.055, blunt=1.6, root=0.5, lines_from=0.0), hair)
    for one in front.spikes:
        locks.draw(pen, one, hair)
    pen.fill(np.concatenate([front.crest, front.hairline]), hair.base)
    pen.line(front.hairline, 0.8 * locks.LINE, hair.line)
    if not front.tousled:
        pen.line(front.crest, 1.35 * locks.LINE, hair.line, start=0.5, end=0.5)
    for one in front.sides + front.bangs:
        locks.draw(pen, one, hair, front.shine)
    for control in front.strands:
        locks.strand(pen, control, hair)
