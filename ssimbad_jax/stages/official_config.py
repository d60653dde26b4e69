"""The config of official weights: what their file tells, and the official values for the rest."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
import numpy as np

from ssimbad_jax.diffusion import schedule, sigma_scale
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
        ValueError: the file contradicts the method.
    """
    config = _base_config(METHODS[method])
    config.update_from_flattened_dict(_fields(file, method) | dict(overrides))
    config.data.condition_size = max(config.data.condition_size, config.data.image_size)
    _check_noise_levels(file, config, method)
    return config


def _base_config(name: str) -> ml_collections.ConfigDict:
    try:
        module = importlib.import_module(f"configs.{name}")
    except ImportError as error:
        raise ValueError(
            f"configs/{name}.py, which the run is made of, cannot be loaded ({error}); call the "
            "command in the repository"
        ) from error
    return module.get_config()


def _fields(file: official_file.OfficialFile, method: str) -> dict[str, Any]:
    """Returns what the file says, by the names of fields."""
    sizes = official_sizes.sizes(file.weights)
    fields: dict[str, Any] = {f"model.{k}": v for k, v in sizes._asdict().items()}
    if file.noise_levels is not None:
        fields |= _fields_of_noise_levels(file.noise_levels, method)
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


def _range(levels: np.ndarray) -> tuple[float, float]:
    if levels.ndim != 1 or len(levels) < 3 or not levels[0] > levels[-2] > 0:
        raise ValueError(f"its noise levels, {levels.shape} numbers, do not fall from high to low")
    return _rounded(levels[-2]), _rounded(levels[0])


def _rounded(value: float) -> float:
    """Undoes the rounding to float32, which made 80 and 0.3 what they are in the file."""
    return float(f"{value:.3g}")


def _check_noise_levels(
    file: official_file.OfficialFile, config: ml_collections.ConfigDict, method: str
) -> None:
    """Compares the noise levels that the run will have with those in the file."""
    if file.noise_levels is None or method not in _SCHEDULES:
        return
    if not _fits(file.noise_levels, _SCHEDULES[method](config)):
        diffusion = config.diffusion
        scale = f", c = {config.calibrate.c:g}" if method == "ssimbad" else ""
        raise ValueError(
            f"its noise levels are not those of {method} from {diffusion.sigma_max:g} to "
            f"{diffusion.sigma_min:g}{scale}; correct that with --method or --config, such as "
            "--config.calibrate.c=0.3"
        )


def _fits(levels: np.ndarray, noise_schedule: schedule.Schedule) -> bool:
    expected = noise_schedule.sigma_grid(len(levels) - 1)
    return bool(np.allclose(levels, expected, rtol=_TOLERANCE, atol=0.0))


def _ssimbad(config: ml_collections.ConfigDict) -> schedule.Schedule:
    diffusion = config.diffusion
    return schedule.ssimbad(
        sigma_scale.rational(config.calibrate.c), diffusion.sigma_min, diffusion.sigma_max
    )


def _edm(config: ml_collections.ConfigDict) -> schedule.Schedule:
    return schedule.edm(config.diffusion.sigma_min, config.diffusion.sigma_max)


_SCHEDULES: Mapping[str, Callable[[ml_collections.ConfigDict], schedule.Schedule]] = {
    "ssimbad": _ssimbad,
    "edm": _edm,
}
