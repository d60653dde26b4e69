"""How a trained network samples: which sampler, along which part of which sigma grid."""

import functools
import math
import operator
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.diffusion import fidelity, multistep, samplers, schedule
from ssimbad_jax.stages import components, guided_denoiser

# (params, noise [B, H, W, 3], condition [B, H, W, 4], key or keys [B]) -> what is returned.
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
    "ddim": Solver(
        multistep.ddim,
        lambda steps: steps,
        lambda evaluation: {n: evaluation[n] for n in ("eta", "clip_denoised")},
    ),
    "dpmpp_2m": Solver(multistep.dpmpp_2m, lambda steps: steps),
    "dpmpp_2m_sde": Solver(multistep.dpmpp_2m_sde, lambda steps: steps),
    "unipc": Solver(multistep.unipc, lambda steps: steps),
}

# Fields of `config.refine` that say how refined weights sample.
OF_REFINEMENT = ("sampler", "sampler_steps", "grid_steps", "clip_denoised")

# What no refinement does, in `eval` and its guidance, and what leaves it out.
_NOT_REFINED = {"churn": 0.0, "eta": 0.0, "start_sigma": 0.0}
_NO_GUIDANCE = {"sketch": 1.0, "reference": 1.0, "structure": 0.0}

# Fields that differ from their default only where somebody wants what they do.
ALWAYS_ASKED = ("eval.churn", "eval.start_sigma", *(f"eval.guidance.{n}" for n in _NO_GUIDANCE))

# Options that not every solver uses, and what leaves them out.
OFF = {"churn": 0, "eta": 0, "clip_denoised": False}

# Steps that the noise levels of a schedule suffice for, where they are counted.
_MOST_STEPS: dict[str, Callable[[ml_collections.ConfigDict], int]] = {
    "ddpm": lambda config: config.diffusion.num_levels - 1,
    "single": lambda config: 1,
}

# With so many steps Heun's pictures were found whole, with 10 not (README, "Samplers", c = 0.3).
_ENOUGH_FOR_HEUN = 25


def users(option: str, evaluation: ml_collections.ConfigDict) -> list[str]:
    """Returns the solvers that use a field of `eval`, such as "churn"."""
    return [name for name, solver in SOLVERS.items() if option in solver.options(evaluation)]


def name(config: ml_collections.ConfigDict) -> str:
    """Returns what tables call the way in which `eval` samples."""
    evaluation = config.eval
    start = f" from sigma {evaluation.start_sigma:g}" if evaluation.start_sigma else ""
    guided = ", guided" if guided_denoiser.is_guided(config) else ""
    return f"{evaluation.sampler}-{evaluation.sampler_steps}{start}{guided}"


def describe(settings: ml_collections.ConfigDict) -> str:
    """Returns the solver of `config.eval` or `config.refine` in words."""
    part = f" of a {settings.grid_steps}-step grid" if settings.grid_steps else ""
    clipped = ", estimates clipped" if settings.clip_denoised else ""
    return f"{settings.sampler}-{settings.sampler_steps}{part}{clipped}"


def of_refinement(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """Returns a config whose `eval` samples with the solver of `refine`, and nothing else."""
    changed = config.copy_and_resolve_references()
    for name in OF_REFINEMENT:
        changed.eval[name] = config.refine[name]
    changed.eval.update(_NOT_REFINED)
    changed.eval.guidance.update(_NO_GUIDANCE)
    return changed


def sampling_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the fields that `of_refinement` decides, by their full names."""
    evaluation, refinement = config.eval, config.refine
    fields = {f"refine.{name}": refinement[name] for name in OF_REFINEMENT}
    fields |= {f"eval.{name}": evaluation[name] for name in (*OF_REFINEMENT, *_NOT_REFINED)}
    return fields | {f"eval.guidance.{name}": evaluation.guidance[name] for name in _NO_GUIDANCE}


def kept_refinement(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a kept config says of refinement.

    Args:
        kept: by a run or a checkpoint, of any age. Refinements older than their own clip_denoised
            went by that of `eval`.
    """
    of_eval = {n: value for n, value in kept.get("eval", {}).items() if n == "clip_denoised"}
    return of_eval | kept.get("refine", {})


def sigma_range(config: ml_collections.ConfigDict) -> tuple[float, float]:
    """Returns the smallest and the largest noise level that walks pass."""
    diffusion = config.diffusion
    if diffusion.schedule == "ddpm":
        made = components.noise_schedule(config, pathlib.Path())
        return made.sigma_min, made.sigma_max
    return (0.0 if diffusion.schedule == "single" else diffusion.sigma_min), diffusion.sigma_max


def grid_problem(config: ml_collections.ConfigDict, section: str) -> Iterator[str]:
    """Yields a line if the walk of `eval` or `refine` does not fit its grid or the schedule."""
    steps, grid_steps = (config[section][n] for n in ("sampler_steps", "grid_steps"))
    most = _MOST_STEPS.get(config.diffusion.schedule, lambda config: math.inf)(config)
    for name, value in (("sampler_steps", steps), ("grid_steps", grid_steps)):
        if value > most:
            yield (
                f"{section}.{name} is {value}, but diffusion.schedule = "
                f"{config.diffusion.schedule!r} has noise levels for {most}; set it to that or less"
            )
    if 0 < grid_steps < steps:
        yield (
            f"{section}.grid_steps is {grid_steps}, fewer than {section}.sampler_steps = "
            f"{steps}; set it to 0 or to at least as many"
        )


def option_problems(config: ml_collections.ConfigDict, section: str) -> Iterator[str]:
    """Yields a line for each option of `eval` or `refine` that its sampler does not use."""
    settings = config[section]
    for option, off in OFF.items():
        using = users(option, config.eval)
        if settings.get(option) and settings.sampler not in using:
            yield (
                f"{section}.{option} is {settings[option]}, which {settings.sampler!r} does not "
                f"use; set it to {off}, or {section}.sampler to "
                f"{' or '.join(map(repr, using))}"
            )


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields what is wrong with how `eval` samples, a line each."""
    evaluation = config.eval
    yield from grid_problem(config, "eval")
    low, high = sigma_range(config)
    start = evaluation.start_sigma
    if start and not low < start <= high:
        yield (
            f"eval.start_sigma is {start}; set it above the smallest noise level, {low:.4g}, and "
            f"to at most the largest, {high:.4g}, or to 0 to start from pure noise"
        )
    if not evaluation.eta <= 1:
        yield f"eval.eta is {evaluation.eta}; set it to 1 or less"
    yield from option_problems(config, "eval")


def caution(config: ml_collections.ConfigDict) -> str:
    """Returns what is likely to go wrong with the walk of `eval`, or nothing."""
    evaluation = config.eval
    if evaluation.sampler != "heun" or evaluation.sampler_steps >= _ENOUGH_FOR_HEUN:
        return ""
    return (
        f"caution: heun's correction of a long first step blows up, and {evaluation.sampler_steps} "
        f"steps are few; take {_ENOUGH_FOR_HEUN} or more, or euler or unipc"
    )


def sigma_grid(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> np.ndarray:
    """Returns the sigmas that `eval` walks, float64 `[steps + 1]`."""
    evaluation = config.eval
    start = evaluation.start_sigma or noise_schedule.sigma_max
    if evaluation.grid_steps:
        grid = noise_schedule.sigma_grid(evaluation.grid_steps, start)
        return schedule.sub_grid(grid, evaluation.sampler_steps)
    return noise_schedule.sigma_grid(evaluation.sampler_steps, start)


def network_calls(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> int:
    """Returns the network calls for each picture that `eval` makes, those of guidance included."""
    evaluation = config.eval
    before = evaluation.posterior_draws if evaluation.start_sigma else 0
    if not guided_denoiser.is_guided(config):
        return before + SOLVERS[evaluation.sampler].network_calls(evaluation.sampler_steps)
    return before + guided_denoiser.network_calls(config, _noise_levels(config, noise_schedule))


def sample(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns the sampler of `eval`; its result is `[B, H, W, 3]`."""
    return _sample(config, noise_schedule, lambda sampler: sampler)


def trajectory(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns what the sampler of `eval` passes, a `samplers.Passed`."""
    return _sample(
        config, noise_schedule, lambda sampler: functools.partial(samplers.trajectory, sampler)
    )


def posterior_mean(config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule) -> Sample:
    """Returns the mean of `eval.posterior_draws` answers to pure noise, `[B, H, W, 3]`."""
    denoise = components.denoise_with_params(config, noise_schedule)
    draws = config.eval.posterior_draws

    def mean(params: Any, noise: jax.Array, condition: jax.Array, key: jax.Array) -> jax.Array:
        return fidelity.posterior_mean(
            lambda noisy, sigma: denoise(params, noisy, sigma, condition),
            noise,
            noise_schedule.sigma_max,
            draws=draws,
            key=streams.fold_in(key, streams.Stream.POSTERIOR_MEAN),
        )

    return mean


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
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
    used: Callable[[samplers.Sampler], Callable[..., Any]],
) -> Sample:
    """Returns the sampler of `eval`, used as told, on the network and on its sigma grid."""
    denoise = guided_denoiser.guided_denoiser(config, noise_schedule)
    grid = sigma_grid(config, noise_schedule)
    solver, from_mean = SOLVERS[config.eval.sampler], config.eval.start_sigma > 0
    options = solver.options(config.eval)
    mean = posterior_mean(config, noise_schedule)

    def sample(params: Any, noise: jax.Array, condition: jax.Array, key: jax.Array) -> Any:
        sampler = solver.sampler
        if from_mean:
            sampler = fidelity.starting_from(sampler, mean(params, noise, condition, key))
            # Not the noise that the mean was made of.
            noise = samplers.draw_noise(key, streams.Stream.RESTART, noise)
        else:
            noise = noise_schedule.start(noise, grid[0])
        return used(sampler)(
            lambda noisy, sigma: denoise(params, noisy, sigma, condition),
            noise,
            grid,
            key=streams.fold_in(key, streams.Stream.WALK),
            **options,
        )

    return sample
