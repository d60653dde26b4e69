"""The denoiser that sampling uses: the network's, guided as `eval.guidance` says."""

from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np

from ssimbad_jax.data import conditions
from ssimbad_jax.diffusion import guidance, schedule
from ssimbad_jax.metrics import line_agreement
from ssimbad_jax.stages import components

# Classifier-free scales, and without which conditions the network then has to do.
_NEEDED = {"sketch": ("drop_sketch", "drop_reference"), "reference": ("drop_reference",)}


def guided_denoiser(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> components.DenoiseWithParams:
    """Returns D as a function of (params, noisy, sigma, condition); the truth is no input.

    Without guidance it is the network's.
    """
    network, settings = components.denoise_with_params(config, noise_schedule), config.eval.guidance
    if not is_guided(config):
        return network

    def denoise(params: Any, noisy: jax.Array, sigma: jax.Array, condition: jax.Array) -> jax.Array:
        def plain(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
            return network(params, noisy, sigma, condition)

        def sketch_alone(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
            return network(params, noisy, sigma, conditions.without_reference(condition))

        def nothing(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
            return network(params, noisy, sigma, conditions.without_both(condition))

        def line_distance(image: jax.Array) -> jax.Array:
            return line_agreement.line_distance(image, conditions.sketch_of(condition))

        guided = guidance.classifier_free(
            (nothing, sketch_alone, plain), (settings.sketch, settings.reference)
        )
        if settings.structure:
            guided = guidance.loss_guided(guided, line_distance, settings.structure)
        within = guidance.between(guided, plain, settings.sigma_min, settings.sigma_max)
        return within(noisy, sigma)

    return denoise


def is_guided(config: ml_collections.ConfigDict) -> bool:
    """Tells whether `eval.guidance` changes anything."""
    settings = config.eval.guidance
    return (settings.sketch, settings.reference, settings.structure) != (1, 1, 0)


def network_calls(config: ml_collections.ConfigDict, sigma: np.ndarray) -> int:
    """Returns the calls of the network for one estimate at each of these noise levels."""
    settings, sigma = config.eval.guidance, sigma.astype(np.float32)  # as it is compared there
    inside = (sigma >= np.float32(settings.sigma_min)) & (sigma <= np.float32(settings.sigma_max))
    calls = sum(map(bool, guidance.weights((settings.sketch, settings.reference))))
    return int(np.where(inside, calls, 1).sum())


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields what is wrong with guidance, and with what it needs of the training."""
    settings = config.eval.guidance
    if not settings.sigma_min < settings.sigma_max:
        yield (
            f"eval.guidance.sigma_min is {settings.sigma_min} and eval.guidance.sigma_max "
            f"{settings.sigma_max}; set sigma_min below sigma_max"
        )
    for scale, needed in _NEEDED.items():
        if settings[scale] == 1:
            continue
        for drop in needed:
            if not config.train[drop] > 0:
                yield (
                    f"eval.guidance.{scale} is {settings[scale]}, but train.{drop} is "
                    f"{config.train[drop]}: the network does not know what to do without that "
                    f"condition; set eval.guidance.{scale} to 1.0, or train with "
                    f"train.{drop} = 0.1"
                )
