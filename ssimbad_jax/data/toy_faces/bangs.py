"""Bangs: locks that fan out from the crown over the forehead, in several styles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ssimbad_jax.data.toy_faces import curves, locks

FRINGE, BLUNT, SWEPT, PARTED, TUFT, MESSY, SPIKY = range(7)
_GIRLS = (0.26, 0.18, 0.18, 0.14, 0.12, 0.10, 0.02)  # how often each style is worn
_BOYS = (0.16, 0.02, 0.20, 0.08, 0.14, 0.24, 0.16)


class _Tip(NamedTuple):
    """Where a lock ends and how: place, half width, sideways bend and bluntness."""

    x: float
    y: float
    half_width: float
    bend: float
    blunt: float


def sample_style(rng: np.random.Generator, boyish: bool) -> int:
    """Draws a style of bangs."""
    return int(rng.choice(7, p=_BOYS if boyish else _GIRLS))


def sample_parting(rng: np.random.Generator, style: int) -> float:
    """Draws the place of the parting, from -1 (left) to 1."""
    offset = rng.uniform(0.2, 0.5) if style == SWEPT else rng.uniform(0.0, 0.12)
    return float(rng.choice([-1, 1]) * offset)


def sample(rng: np.random.Generator, style: int, parting: float, volume: float) -> list[locks.Lock]:
    """Draws the locks of a style, in the order they are painted."""
    low = rng.uniform(-0.20, 0.08)
    crown = (0.8 * parting, -1.50 * volume)
    if style == BLUNT:
        tips = _blunt(rng, low)
    elif style in (SWEPT, PARTED):
        tips = _parted(rng, low, parting, swept=style == SWEPT)
    elif style == TUFT:
        tips = _tuft(rng, low)
    else:
        tips = _fringe(rng, low, wild=style in (MESSY, SPIKY))
    return [_lock(rng, tip, crown, volume) for tip in tips]


def _blunt(rng: np.random.Generator, low: float) -> list[_Tip]:
    """A straight cut above the eyes."""
    count = int(rng.integers(6, 9))
    half_width = 0.64 * 1.72 / count
    return [
        _Tip(x, low + rng.uniform(-0.03, 0.03) + 0.1 * x * x, half_width, 0.0, rng.uniform(9, 16))
        for x in np.linspace(-0.80, 0.80, count).tolist()
    ]


def _parted(rng: np.random.Generator, low: float, parting: float, swept: bool) -> list[_Tip]:
    """Hair that leaves the forehead free; swept: one side covers it from a side parting on."""
    tips = []
    for side in (-1, 1):
        covers = swept and side * parting < 0
        inner = side * parting + 0.12 if covers else rng.uniform(0.36, 0.52)
        count = int(rng.integers(3, 6)) if covers else int(rng.integers(2, 4))
        spacing = (0.95 - inner) / count
        for i in range(count, -1, -1):
            y = low + 0.20 * i / count + rng.uniform(-0.07, 0.07)
            bend = rng.uniform(0.10, 0.18) if covers else rng.uniform(0.16, 0.26)
            x = side * (inner + i * spacing)
            tips.append(_Tip(x, y, 0.62 * spacing + 0.07, side * bend, rng.uniform(2.0, 3.0)))
    if rng.random() < 0.5:  # a loose lock over the forehead
        x, y = parting + rng.uniform(-0.15, 0.15), rng.uniform(-0.3, 0.1)
        tips.append(_Tip(x, y, 0.07, rng.uniform(-0.15, 0.15), 2.0))
    return tips


def _tuft(rng: np.random.Generator, low: float) -> list[_Tip]:
    """One long lock between the eyes, the others to the sides."""
    tips = []
    for side in (-1, 1):
        for x in (0.86, 0.62, 0.36):
            y = low + 0.18 * x + rng.uniform(-0.08, 0.05)
            tips.append(_Tip(side * x, y, 0.19, side * 0.08, rng.uniform(2.0, 3.0)))
    x, y = rng.uniform(-0.1, 0.1), rng.uniform(0.08, 0.34)
    return [*tips, _Tip(x, y, rng.uniform(0.13, 0.20), rng.uniform(-0.1, 0.1), 1.8)]


def _fringe(rng: np.random.Generator, low: float, wild: bool) -> list[_Tip]:
    """Pointed locks side by side, leaning to one side; wild: uneven and in any order."""
    count = int(rng.integers(6, 10)) if wild else int(rng.integers(5, 8))
    lean, uneven = rng.uniform(-0.22, 0.22), 0.13 if wild else 0.05
    places = np.linspace(-0.82, 0.82, count)
    tips = []
    for x in places.tolist():
        y = low + rng.uniform(-uneven, uneven) + 0.16 * x * x
        bend = -lean * (1.6 if wild else 1.0) + rng.uniform(-0.05, 0.05)
        place = x + lean * (1 - abs(x))
        tips.append(_Tip(place, y, 0.78 * 1.7 / count, bend, rng.uniform(1.7, 2.8)))
    outer_first = np.argsort(-np.abs(places), kind="stable")
    return [tips[i] for i in (rng.permutation(count) if wild else outer_first)]


def _lock(
    rng: np.random.Generator, tip: _Tip, crown: tuple[float, float], volume: float
) -> locks.Lock:
    away = tip.x - crown[0]
    control = curves.points(
        (crown[0] + 0.30 * away, crown[1] + 0.06 * tip.x**2),
        (crown[0] + 0.80 * away + 0.3 * tip.bend, -1.30 * volume + 0.18 * tip.x**2),
        (1.10 * tip.x + tip.bend, -0.60),
        (tip.x, tip.y),
    )
    return locks.lock(
        control,
        tip.half_width * rng.uniform(0.85, 1.15),
        blunt=tip.blunt,
        root=rng.uniform(0.30, 0.40),
        shade_from=float(rng.choice([0.45, 0.6, 0.75, 1.0])),
        lines_from=float(rng.choice([0.12, 0.4, 0.5, 0.6])),
    )
