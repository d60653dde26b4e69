"""How a trained network samples: which sampler, along which part of which sigma grid."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from ssimbad_jax.diffusion import samplers, schedule
from ssimbad_jax.stages import components

# (params, noise [B, H, W, 3], condition [B, H, W, 4], key) -> what the sampler returns.
Sample = Callable[[Any, jax.Array, jax.Array, jax.Array], Any]


class Solver(NamedTuple):
    """A sampler as configs name it.

    Attributes:
        sampler: see `diffusion.samplers`.
        network_calls: of a number of steps.
        options: the sampler's own arguments, out of `config.eval`.
    """

    sampler: samplers.Sampler
    network_calls: Callable[[int], int]
    options: Callable[[ml_collections.ConfigDict], dict[str, Any]] = lambda evaluation: {}


def _churn(evaluation: ml_collections.ConfigDict) -> dict[str, Any]:
    return {"churn": samplers.Churn(amount=evaluation.churn)}


SOLVERS = {
    "heun": Solver(samplers.heun, lambda steps: 2 * steps - 1, _churn),
    "euler": Solver(samplers.euler, lambda steps: steps, _churn),
}


def describe(settings: ml_collections.ConfigDict) -> str:
    """Returns the solver of `config.eval` or `config.refine` in words."""
    part = f" of a {settings.grid_steps}-step grid" if settings.grid_steps else ""
    return f"{settings.sampler}-{settings.sampler_steps}{part}"


def of_refinement(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns a config whose `eval` samples with the solver of `refine`, and nothing else."""
    changed = config.copy_and_resolve_references()
    for name in ("sampler", "sampler_steps", "grid_steps"):
        changed.eval[name] = config.refine[name]
    changed.eval.churn = 0.0
    return changed


def sigma_grid(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> np.ndarray:
    """Returns the sigmas that `eval` walks, float64 `[steps + 1]`."""
    evaluation = config.eval
    if evaluation.grid_steps:
        grid = noise_schedule.sigma_grid(evaluation.grid_steps)
        return schedule.sub_grid(grid, evaluation.sampler_steps)
    return noise_schedule.sigma_grid(evaluation.sampler_steps)


def network_calls(config: ml_collections.ConfigDict) -> int:
    """Returns the network calls for each picture that `eval` makes."""
    return SOLVERS[config.eval.sampler].network_calls(config.eval.sampler_steps)


def sample(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns the sampler of `eval`; its result is `[B, H, W, 3]`."""
    return _sample(SOLVERS[config.eval.sampler].sampler, config, noise_schedule)


def trajectory(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns what the sampler of `eval` passes, a `samplers.Passed`."""
    sampler = SOLVERS[config.eval.sampler].sampler

    def passed(*arguments: Any, **options: Any) -> samplers.Passed:
        return samplers.trajectory(sampler, *arguments, **options)

    return _sample(passed, config, noise_schedule)


def _sample(
    call: Callable[..., Any],
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Sample:
    denoise = components.denoise_with_params(config, noise_schedule)
    grid = sigma_grid(config, noise_schedule)
    options = SOLVERS[config.eval.sampler].options(config.eval)

    def sample(params: Any, noise: jax.Array, condition: jax.Array, key: jax.Array) -> Any:
        return call(
            lambda noisy, sigma: denoise(params, noisy, sigma, condition),
            noise,
            grid,
            key=key,
            **options,
        )

    return sample
