"""Noise axes: ways to spread noise levels evenly, each that of a schedule's grid.

An axis runs over u, from 0 at the smallest noise level to 1 at the largest.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from ssimbad_jax.diffusion import scale_selection, schedule, sigma_scale

# Noise levels of AnimeDiffusion's table.
_DDPM_LEVELS = 1000


@dataclasses.dataclass(frozen=True)
class NoiseAxis:
    """A way to spread noise levels evenly.

    Attributes:
        name: what the pictures call it.
        levels: how many, 2 or more -> float64 NumPy array of so many noise levels, increasing, even
            in u and with both ends.
    """

    name: str
    levels: Callable[[int], np.ndarray]


def ddpm_axis() -> NoiseAxis:
    """Returns the axis of AnimeDiffusion: time indices; between them ln sigma is interpolated."""
    log_table = np.log(schedule.ddpm(_DDPM_LEVELS).sigma_grid(_DDPM_LEVELS - 1)[::-1])
    index = np.arange(_DDPM_LEVELS)

    def levels(count: int) -> np.ndarray:
        return np.exp(np.interp(np.linspace(0, _DDPM_LEVELS - 1, count), index, log_table))

    return NoiseAxis("DDPM", levels)


def edm_axis(sigma_min: float, sigma_max: float) -> NoiseAxis:
    """Returns the axis of EDM's sampling grid (Karras et al. 2022, equation 5).

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    return _of_grid("EDM", schedule.edm(sigma_min, sigma_max))


def scale_axis(scale: sigma_scale.SigmaScale, sigma_min: float, sigma_max: float) -> NoiseAxis:
    """Returns the axis of SSIMBaD with the given scale.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    return _of_grid(f"SSIMBaD, {scale.name}", schedule.ssimbad(scale, sigma_min, sigma_max))


def compared_axes(
    scale: sigma_scale.SigmaScale, sigma_min: float, sigma_max: float
) -> tuple[NoiseAxis, ...]:
    """Returns the axes that a calibration's pictures compare: DDPM's, EDM's and the scale's.

    Raises:
        ValueError: not 0 < sigma_min < sigma_max.
    """
    return (
        ddpm_axis(),
        edm_axis(sigma_min, sigma_max),
        scale_axis(scale, sigma_min, sigma_max),
    )


def axis_r2(axis: NoiseAxis, curves: scale_selection.SsimCurves) -> float:
    """Returns the mean R^2 of SSIM against u, by the official protocol."""
    u = np.linspace(0.0, 1.0, scale_selection.OFFICIAL_POINTS)
    return float(scale_selection.r_squared(u, curves.at(axis.levels(len(u)))).mean())


def _of_grid(name: str, of: schedule.Schedule) -> NoiseAxis:
    # Without the grid's last entry, which is 0.
    return NoiseAxis(name, lambda count: of.sigma_grid(count)[-2::-1])
