"""The benchmark of exact cross references: pairs of built-in faces whose truth is known.

docs/toy_cross.md defines it. No geometry and no palette of it is ever drawn for training.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ssimbad_jax.data import conditions, sketch
from ssimbad_jax.data.toy_faces import drawing
from ssimbad_jax.metrics import colour, role_colour

FIRST_TEST_SEED = 1_000_000  # of geometries and palettes; training draws smaller ones
SKETCH_SIZE = 256  # pixels at which lines are extracted, unless the benchmark is larger
SKETCH_SIGMA = 0.4  # of XDoG
SIZE_STEP = 8  # sizes are multiples of it


class Seeds(NamedTuple):
    """Which drawings a pair is made of.

    Attributes:
        geometry: of A.
        palette: of B, and B's own geometry.
        control: geometry that shows A's palette, for the control.
    """

    geometry: int
    palette: int
    control: int


class Pair(NamedTuple):
    """A pair, T(a, b) being the geometry of a in the colours of b.

    Attributes:
        target: uint8 `[H, W, 3]`, T(A, B), the truth.
        sketch: uint8 `[H, W]`, lines of A's neutral drawing.
        reference: uint8 `[H, W, 3]`, T(B, B).
        own: uint8 `[H, W, 3]`, T(A, A), the truth of the control.
        control_reference: uint8 `[H, W, 3]`, T(C, A).
        roles: uint8 `[H, W]`, of the target.
        reference_roles: uint8 `[H, W]`, of the reference.
    """

    target: np.ndarray
    sketch: np.ndarray
    reference: np.ndarray
    own: np.ndarray
    control_reference: np.ndarray
    roles: np.ndarray
    reference_roles: np.ndarray


def benchmark_seeds(count: int, skins_differ: bool = False) -> list[Seeds]:
    """Returns the seeds of the first pairs; each geometry, palette and control occurs once.

    Args:
        count: pairs.
        skins_differ: pairs whose skins differ by `role_colour.SKINS_DIFFERENT` or more instead,
            which few of the others do.
    """
    if count < 1:
        raise ValueError(f"count is {count}; ask for one pair or more")
    start = FIRST_TEST_SEED * (2 if skins_differ else 1)
    palettes = _palettes_of_other_skin(start) if skins_differ else itertools.count(start + 10**5)
    numbers = range(start, start + count)
    return [
        Seeds(geometry, palette, geometry + 2 * 10**5)
        for geometry, palette in zip(numbers, palettes, strict=False)
    ]


def make_pair(seeds: Seeds, size: int, plain: bool = True) -> Pair:
    """Draws a pair.

    Args:
        seeds: of its drawings.
        size: height and width in pixels, a multiple of `SIZE_STEP`.
        plain: whether rooms are one colour in white light.

    Raises:
        ValueError: the size is no multiple.
    """
    if size < 1 or size % SIZE_STEP:
        raise ValueError(f"size is {size}; set it to a positive multiple of {SIZE_STEP}")
    a, b, c = seeds
    target = drawing.draw_cross(a, b, size, plain)
    reference = drawing.draw_cross(b, b, size, plain)
    return Pair(
        target=target.picture,
        sketch=_sketch(a, size),
        reference=reference.picture,
        own=drawing.draw_cross(a, a, size, plain).picture,
        control_reference=drawing.draw_cross(c, a, size, plain).picture,
        roles=target.roles,
        reference_roles=reference.roles,
    )


def _sketch(geometry: int, size: int) -> np.ndarray:
    drawn = drawing.draw_neutral(geometry, max(size, SKETCH_SIZE))
    picture = conditions.from_uint8(jnp.asarray(drawn)[None])
    lines = sketch.xdog(picture, jnp.full((1,), SKETCH_SIGMA))
    return np.asarray(conditions.to_uint8(conditions.resize(lines, size)))[0, ..., 0]


def _palettes_of_other_skin(start: int) -> Iterator[int]:
    """Yields for each geometry the next palette whose skin is another than the geometry's own."""
    candidate = start + 10**5
    for geometry in itertools.count(start):
        own = drawing.cross_palette(geometry).skin.base
        while _difference(own, drawing.cross_palette(candidate).skin.base) < (
            role_colour.SKINS_DIFFERENT
        ):
            candidate += 1
        yield candidate
        candidate += 1


def _difference(first: tuple[int, int, int], second: tuple[int, int, int]) -> float:
    """Returns CIEDE2000 between two 8-bit colours."""
    a, b = (colour.srgb_to_lab(jnp.asarray(x, jnp.float32) / 255) for x in (first, second))
    return float(colour.ciede2000(a, b))
