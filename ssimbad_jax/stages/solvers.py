"""How a trained network samples: which sampler, along which part of which sigma grid."""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax.diffusion import samplers, schedule
from ssimbad_jax.stages import guided_denoiser

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


def network_calls(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> int:
    """Returns the network calls for each picture that `eval` makes, those of guidance included."""
    return guided_denoiser.network_calls(config, _noise_levels(config, noise_schedule))


def sample(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns the sampler of `eval`; its result is `[B, H, W, 3]`."""
    return _sample(SOLVERS[config.eval.sampler].sampler, config, noise_schedule)


def trajectory(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns what the sampler of `eval` passes, a `samplers.Passed`."""
    sampler = SOLVERS[config.eval.sampler].sampler

    def passed(*arguments: Any, **options: Any) -> samplers.Passed:
        return samplers.trajectory(sampler, *arguments, **options)

    return _sample(passed, config, noise_schedule)


def _noise_levels(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> np.ndarray:
    """Returns where the sampler of `eval` asks for an estimate, by walking with one pixel."""
    solver, levels = SOLVERS[config.eval.sampler], []

    def denoise(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
        levels.append(float(sigma[0]))
        return noisy

    def walk_in_python(step: samplers.StepFn, carry: Any, steps: Any) -> Any:
        for number in range(len(jax.tree.leaves(steps)[0])):
            carry, _ = step(carry, jax.tree.map(operator.itemgetter(number), steps))
        return carry

    solver.sampler(
        denoise,
        jnp.zeros((1, 1, 1, 1)),
        sigma_grid(config, noise_schedule),
        key=jax.random.key(0),
        walk=walk_in_python,
        **solver.options(config.eval),
    )
    return np.array(levels, np.float32)


def _sample(
    call: Callable[..., Any],
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Sample:
    denoise = guided_denoiser.guided_denoiser(config, noise_schedule)
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
