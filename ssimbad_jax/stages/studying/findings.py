"""What the rows of a study say: how few network calls do what the reference does."""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ssimbad_jax.stages import scores
from ssimbad_jax.stages.studying.rows import Row

DISTANCE = "rmse_to_reference"

# How much worse than the reference still counts as being as good, in the unit of the metric.
TOLERANCES = {"psnr": 0.1, "ssim": 0.005, "lpips_alex": 0.005}
# Distance, in 8-bit levels, up to which pictures count as the reference's own.
SAME_PICTURES = 2.0


class Curve(NamedTuple):
    """What the rows of a curve over network calls have in common.

    Attributes:
        weights: of the network.
        sampler: out of `solvers.SOLVERS`.
        grid: out of `plan.GRIDS`.
        sigma_max: where walks start.
    """

    weights: str
    sampler: str
    grid: str
    sigma_max: float


BySetting = dict[str, Row]
Points = dict[int, BySetting]  # by network calls, few first


def references(rows: Iterable[Row]) -> dict[str, BySetting]:
    """Returns the rows of the reference by weights."""
    found: dict[str, BySetting] = {}
    for row in rows:
        if row["is_reference"]:
            found.setdefault(row["weights"], {})[row["setting"]] = row
    return found


def curves(rows: Iterable[Row]) -> dict[Curve, Points]:
    """Returns the rows as curves over network calls."""
    found: dict[Curve, Points] = collections.defaultdict(dict)
    for row in rows:
        found[curve_of(row)].setdefault(row["network_calls"], {})[row["setting"]] = row
    return {curve: dict(sorted(points.items())) for curve, points in found.items()}


def curve_of(row: Row) -> Curve:
    """Returns the curve a row lies on."""
    return Curve(*(row[name] for name in Curve._fields))


def is_reached(metric: str, row: Row, reference: Row) -> bool:
    """Tells whether a score is as good as the reference's, or the pictures are its own.

    Args:
        metric: out of `rows.METRICS`, or `DISTANCE`.
        row: of a combination.
        reference: of the same weights and setting.
    """
    if row[metric] is None or reference[metric] is None:
        return False
    if metric == DISTANCE:
        return bool(row[metric] <= SAME_PICTURES)
    gain = row[metric] - reference[metric]
    if not scores.METRICS[metric].higher_is_better:
        gain = -gain
    return bool(gain >= -TOLERANCES[metric])


def reaching_calls(
    points: Points, reference: Mapping[str, Row], needed: Sequence[tuple[str, str]]
) -> list[int]:
    """Returns the network calls with which all that is needed is reached, few first.

    Args:
        points: of a curve.
        reference: by setting, of the same weights.
        needed: metrics with their settings; see `is_reached`.
    """

    def is_enough(rows: BySetting) -> bool:
        return all(
            setting in rows
            and setting in reference
            and is_reached(metric, rows[setting], reference[setting])
            for metric, setting in needed
        )

    return [calls for calls, rows in points.items() if is_enough(rows)]


def best(rows: Iterable[Row], metric: str) -> Row | None:
    """Returns the row of the best score, of equal ones the first; None if there is no score."""
    scored = [row for row in rows if row[metric] is not None]
    is_higher_better = metric != DISTANCE and scores.METRICS[metric].higher_is_better
    choose = max if is_higher_better else min
    return choose(scored, key=lambda row: row[metric], default=None)
