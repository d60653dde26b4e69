"""The config of official weights: what their file tells, and the official values for the rest."""

import importlib
from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from ssimbad_jax.diffusion import schedule
from ssimbad_jax.models import official_sizes
from ssimbad_jax.stages import official_file

# Configs by method.
METHODS = {"ssimbad": "edm_ssimbad", "edm": "edm", "anime_diffusion": "anime_diffusion"}

# Fields that the options of the official commands set.
_OPTIONS = {
    "size": "data.image_size",
    "attention_head": "model.num_heads",
    "c": "calibrate.c",
    "sigma_min": "diffusion.sigma_min",
    "sigma_max": "diffusion.sigma_max",
    "sigma_data": "diffusion.sigma_data",
}
_WHOLE = ("data.image_size", "model.num_heads")
_SOLVER_STEPS = 50  # K of the paper's refinement
_TOLERANCE = 0.01  # of noise levels, relative; those of another scale are off by far more
_SMALLEST_KNOWN = 0.05  # noise level that gammas in float32 tell to that tolerance
_LEVELS, _BETA_FIRST = 1000, 1e-6  # of AnimeDiffusion; with other numbers of levels betas scale


def method_of(file: official_file.OfficialFile) -> tuple[str, str]:
    """Returns which of `METHODS` the weights were trained with, and what that follows from."""
    if file.gammas is not None:
        return "anime_diffusion", "its table of gammas"
    for option, method in (("c", "ssimbad"), ("rho", "edm")):
        if option in file.settings:
            return method, f"the option {option} it was trained with"
    if file.noise_levels is not None:
        is_edm = _fits(file.noise_levels, schedule.edm(*_range(file.noise_levels)))
        return "edm" if is_edm else "ssimbad", "its noise levels"
    if "model." in file.prefix:
        return "ssimbad", f"the names of its entries, {file.prefix}*"
    return "anime_diffusion", "the lack of anything that says otherwise"


def config_of(
    file: official_file.OfficialFile, method: str, overrides: Mapping[str, Any]
) -> ml_collections.ConfigDict:
    """Returns the config to use the weights with.

    Args:
        file: the weights.
        method: out of `METHODS`.
        overrides: values that the user gives, by the full names of fields.

    Raises:
        ValueError: the file holds no such network, or noise levels that are none.
    """
    config = importlib.import_module(f"ssimbad_jax.configs.{METHODS[method]}").get_config()
    config.update_from_flattened_dict(_fields(file, method) | dict(overrides))
    config.data.condition_size = max(config.data.condition_size, config.data.image_size)
    return config


def check(file: official_file.OfficialFile, noise_schedule: schedule.Schedule) -> None:
    """Compares the noise levels that the run will have with those that the file keeps.

    Raises:
        ValueError: they differ.
    """
    fits = True
    if file.noise_levels is not None:
        fits = _fits(file.noise_levels, noise_schedule)
    if file.gammas is not None:
        levels = np.sqrt(1.0 / file.gammas[:0:-1].astype(np.float64) - 1.0)
        # Near the image gamma is 1 but for what float32 rounds away.
        expected = noise_schedule.sigma_grid(len(levels))[:-1]
        is_known = expected > _SMALLEST_KNOWN
        fits = bool(np.allclose(levels[is_known], expected[is_known], rtol=_TOLERANCE))
    if not fits:
        raise ValueError(
            f"its noise levels are not those that this run would have, from "
            f"{noise_schedule.sigma_max:.4g} to {noise_schedule.sigma_min:.4g}; correct that with "
            "--method or --config, such as --config.calibrate.c=0.3"
        )


def _fields(file: official_file.OfficialFile, method: str) -> dict[str, Any]:
    """Returns what the file says, by the names of fields."""
    sizes = official_sizes.sizes(file.weights)
    fields: dict[str, Any] = {f"model.{k}": v for k, v in sizes._asdict().items()}
    if file.noise_levels is not None:
        fields |= _fields_of_noise_levels(file.noise_levels, method)
    if file.gammas is not None and method == "anime_diffusion":
        fields |= _fields_of_gammas(file.gammas)
    for option, field in _OPTIONS.items():
        value = file.settings.get(option)
        if isinstance(value, int | float) and 0 < value < float("inf"):
            fields[field] = int(value) if field in _WHOLE else float(value)
    if file.is_refined and method != "anime_diffusion":
        fields |= _refinement_fields(file)
    return fields


def _refinement_fields(file: official_file.OfficialFile) -> dict[str, Any]:
    """Returns the solver that refined: Euler along a part of the grid that the file holds."""
    steps = file.settings.get("finetuning_inference_time_step") or _SOLVER_STEPS
    grid = (
        len(file.noise_levels) - 1
        if file.noise_levels is not None
        else (file.settings.get("inference_time_step") or _SOLVER_STEPS)
    )
    return {
        "refine.sampler": "euler",
        "refine.sampler_steps": int(steps),
        "refine.grid_steps": max(int(steps), int(grid)),
    }


def _fields_of_noise_levels(levels: np.ndarray, method: str) -> dict[str, Any]:
    """Returns the range of noise levels, and c of SSIMBaD's scale."""
    sigma_min, sigma_max = _range(levels)
    fields: dict[str, Any] = {"diffusion.sigma_min": sigma_min, "diffusion.sigma_max": sigma_max}
    if method == "ssimbad" and len(levels) > 3:
        # Three levels evenly spaced in s / (s + c):  2 / (b + c) = 1 / (a + c) + 1 / (d + c).
        middle = (len(levels) - 2) // 2
        a, b, d = (float(levels[index]) for index in (0, middle, 2 * middle))
        above, below = b * (a + d) - 2 * a * d, a + d - 2 * b
        if above > 0 and below > 0:
            fields["calibrate.c"] = _rounded(above / below)
    return fields


def _fields_of_gammas(gammas: np.ndarray) -> dict[str, Any]:
    """Returns the linear betas whose cumulative products these are; the first is too near 0."""
    if gammas.ndim != 1 or len(gammas) < 3 or not 0 < gammas[-1] < gammas[-2] <= gammas[0] <= 1:
        raise ValueError(f"its gammas, {gammas.shape} numbers, do not fall from 1 towards 0")
    return {
        "diffusion.num_levels": len(gammas),
        "diffusion.beta_first": _BETA_FIRST * _LEVELS / len(gammas),
        "diffusion.beta_last": _rounded(1.0 - float(gammas[-1]) / float(gammas[-2])),
    }


def _range(levels: np.ndarray) -> tuple[float, float]:
    if levels.ndim != 1 or len(levels) < 3 or not levels[0] > levels[-2] > 0:
        raise ValueError(f"its noise levels, {levels.shape} numbers, do not fall from high to low")
    return _rounded(levels[-2]), _rounded(levels[0])


def _rounded(value: float) -> float:
    """Undoes the rounding to float32, which made 80 and 0.3 what they are in the file."""
    return float(f"{value:.3g}")


def _fits(levels: np.ndarray, noise_schedule: schedule.Schedule) -> bool:
    expected = noise_schedule.sigma_grid(len(levels) - 1)
    return bool(np.allclose(levels, expected, rtol=_TOLERANCE, atol=0.0))
