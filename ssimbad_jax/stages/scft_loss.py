"""SCFT's training loss: one number an example, in which generator and discriminator both learn."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from ssimbad_jax.data import conditions
from ssimbad_jax.diffusion import schedule, scft_losses
from ssimbad_jax.models import perceptual, scft
from ssimbad_jax.training import state as state_lib

# VGG16's blocks are compared as far as they leave so many positions a side. Of smaller maps
# little can be said, and on a CPU they took longer than all the rest.
SMALLEST_MAP = 4


def network(config: ml_collections.ConfigDict) -> scft.SCFT:
    """Returns the network of the config."""
    model = config.model
    return scft.SCFT(
        base_channels=model.base_channels,
        channel_multipliers=tuple(model.channel_multipliers),
        num_res_blocks=model.num_res_blocks,
        num_groups=model.num_groups,
        dtype=jnp.dtype(model.compute_dtype),
    )


def scft_loss(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> state_lib.LossFn:
    """Returns the weighted sum of `train.scft` (Lee et al. 2020, equation 10).

    Gradients are blocked where the two networks play against each other, so one optimiser steps
    both at once.

    Args:
        config: see `configs/scft.py`.
        noise_schedule: not used; there is no noise.
    """
    del noise_schedule
    module, weights = network(config), config.train.scft
    cell = 2 ** (len(config.model.channel_multipliers) - 1)
    blocks = min(5, int(math.log2(config.data.image_size / SMALLEST_MAP)) + 1)

    def loss_fn(params: Any, examples: Any) -> jax.Array:
        target = examples.image
        sketch = conditions.sketch_of(examples.condition)
        reference = conditions.reference_of(examples.condition)
        image, scores = module.apply({"params": params}, sketch, reference, method="colour")
        terms = {"reconstruction": scft_losses.absolute_error(image, target)}
        if weights.adversarial:
            judge, frozen_judge = (
                functools.partial(module.apply, {"params": used}, method="discriminate")
                for used in (params, jax.lax.stop_gradient(params))
            )
            terms["adversarial"] = sum(
                scft_losses.adversarial_losses(image, target, sketch, judge, frozen_judge)
            )
        if weights.perceptual or weights.style:
            features, wanted = (
                perceptual.vgg16_blocks(0.5 * (x + 1.0), blocks) for x in (image, target)
            )
            terms["perceptual"] = scft_losses.perceptual_loss(features, wanted)
            terms["style"] = scft_losses.style_loss(features, wanted)
        if weights.triplet:
            correspondence = scft_losses.correspondence_weights(examples.warp_map, cell)
            terms["triplet"] = scft_losses.triplet_loss(scores, correspondence, weights.margin)
        return sum(weights[name] * term for name, term in terms.items())

    return loss_fn


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    return iter(())
