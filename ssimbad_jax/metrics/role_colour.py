"""Scores of an exact cross reference: whether each part takes the colour that the reference gives.

A drawing A is coloured like a reference B. The truth shows the geometry of A in the colours of B,
and a map says which role (hair, skin, cloth ...) paints each of its pixels. With m the mean CIELAB
colour over the pixels of a role,

    error = CIEDE2000(m(result), m(truth))
    obedience = 1 - sum of errors / sum of CIEDE2000(m(A's own colours), m(truth))

so that the truth has error 0 and obedience 1, and A's own colours have obedience 0.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssimbad_jax.metrics import colour

OBEYING = ("hair", "iris", "cloth", "trim", "accent", "background")
ERROR_ONLY = ("skin", "mouth", "eye_white", "line")

SHOWN = 0.005  # share of the reference's pixels from which it shows a role
DIFFERENT = 10.0  # CIEDE2000 between own and true colours from which a pair tests obedience
SKINS_DIFFERENT = 5.0  # the same of skins, which are alike: below, their error is not counted


class RoleScore(NamedTuple):
    """The score of a role, or of all together.

    Attributes:
        error: mean over the pairs that count, CIEDE2000, 0 is best; NaN if none does.
        obedience: see above, 1 is best; NaN where no pair tests it, and of roles in `ERROR_ONLY`.
        coverage: share of the pairs that count for the error.
    """

    error: float
    obedience: float
    coverage: float


def role_scores(
    result: np.ndarray,
    truth: np.ndarray,
    own: np.ndarray,
    roles: np.ndarray,
    reference_roles: np.ndarray,
    numbers: Mapping[str, int],
) -> dict[str, RoleScore]:
    """Scores results by the roles of what they show.

    A pair counts for a role that the truth shows and the reference shows, too, in `SHOWN` of its
    pixels: nobody can know the colour of what the reference does not show.

    Args:
        result: uint8 `[N, H, W, 3]`, the pictures to score.
        truth: uint8 `[N, H, W, 3]`, geometry of A in the colours of B.
        own: uint8 `[N, H, W, 3]`, geometry of A in its own colours.
        roles: integers `[N, H, W]`, of the truth's pixels.
        reference_roles: integers `[N, H, W]`, of the pixels of B.
        numbers: number of each role in `OBEYING` and `ERROR_ONLY`.

    Returns:
        A score for each of these roles, and for "all" the obedience over `OBEYING` together, with
        their mean error and coverage.

    Raises:
        ValueError: the shapes do not fit.
    """
    _check_shapes(result, truth, own, roles, reference_roles)
    scores, sums = {}, np.zeros(2)
    for role in (*OBEYING, *ERROR_ONLY):
        mask = roles == numbers[role]
        is_shown = (reference_roles == numbers[role]).mean(axis=(1, 2)) >= SHOWN
        counts = is_shown & mask.any(axis=(1, 2))
        of_result, of_truth, of_own = (_mean_lab(x, mask) for x in (result, truth, own))
        error = np.asarray(colour.ciede2000(of_result, of_truth), np.float64)
        change = np.asarray(colour.ciede2000(of_own, of_truth), np.float64)
        if role == "skin":
            counts &= change >= SKINS_DIFFERENT
        parts = np.zeros(2)
        if role in OBEYING:
            tests = counts & (change >= DIFFERENT)
            parts = np.array([error[tests].sum(), change[tests].sum()])
            sums += parts
        scores[role] = RoleScore(_mean(error[counts]), _obedience(parts), float(counts.mean()))
    together = [scores[role] for role in OBEYING]
    errors = np.array([score.error for score in together if np.isfinite(score.error)])
    coverage = float(np.mean([score.coverage for score in together]))
    return {**scores, "all": RoleScore(_mean(errors), _obedience(sums), coverage)}


def _mean_lab(pictures: np.ndarray, mask: np.ndarray) -> jax.Array:
    """Returns the mean CIELAB colour `[N, 3]` of the pixels in a mask; of none it is black."""
    lab = colour.srgb_to_lab(jnp.asarray(pictures, jnp.float32) / 255)
    weight = jnp.asarray(mask, jnp.float32)[..., None]
    return (lab * weight).sum(axis=(1, 2)) / jnp.maximum(weight.sum(axis=(1, 2)), 1.0)


def _obedience(sums: np.ndarray) -> float:
    return float(1.0 - sums[0] / sums[1]) if sums[1] else float("nan")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _check_shapes(
    result: np.ndarray,
    truth: np.ndarray,
    own: np.ndarray,
    roles: np.ndarray,
    reference_roles: np.ndarray,
) -> None:
    pictures, maps = (result, truth, own), (roles, reference_roles)
    if result.ndim != 4 or result.shape[-1] != 3 or any(x.dtype != np.uint8 for x in pictures):
        raise ValueError(
            f"pictures are {[(x.dtype.name, x.shape) for x in pictures]}, expected uint8 "
            "[N, H, W, 3]"
        )
    if {x.shape for x in pictures} != {result.shape} or {x.shape for x in maps} != {
        result.shape[:3]
    }:
        raise ValueError(
            f"shapes differ: pictures {[x.shape for x in pictures]}, maps of roles "
            f"{[x.shape for x in maps]}; give one of each a pair"
        )
