"""SCFT's training loss: one number an example, by which generator and discriminator both learn."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from ssimbad_jax.data import conditions
from ssimbad_jax.diffusion import scft_losses, schedule
from ssimbad_jax.models import perceptual
from ssimbad_jax.stages import components
from ssimbad_jax.training import state as state_lib

# Fields of `train.scft` that are weights.
TERMS = ("reconstruction", "adversarial", "perceptual", "style", "triplet")

# VGG16's blocks are compared as far as they leave so many positions a side. Smaller maps say little
# about a picture, and on a CPU they took longer than all the rest.
SMALLEST_MAP = 4

# What else SCFT needs the config to be.
_NEEDED = {
    "diffusion.preconditioning": "image",
    "diffusion.schedule": "single",
    "model.num_heads": 1,
    "model.cbam": False,
    # What is left out here and there serves guidance, which one call without noise cannot have.
    "train.drop_sketch": 0.0,
    "train.drop_reference": 0.0,
}


def scft_loss(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> state_lib.LossFn:
    """Returns the weighted sum of `train.scft` (Lee et al. 2020).

    Gradients are blocked where the two networks play against each other, so that one optimiser
    steps both at once.

    Args:
        config: see `configs/scft.py`.
        noise_schedule: not used; there is no noise.
    """
    network, weights = components.scft(config), config.train.scft
    cell = 2 ** (len(config.model.channel_multipliers) - 1)
    blocks = min(5, int(math.log2(config.data.image_size / SMALLEST_MAP)) + 1)

    def judge(params: Any, image: jax.Array, sketch: jax.Array) -> jax.Array:
        return jnp.asarray(network.apply({"params": params}, image, sketch, method="discriminate"))

    def loss_fn(params: Any, examples: Any) -> jax.Array:
        target = examples.image
        sketch = conditions.sketch_of(examples.condition)
        reference = conditions.reference_of(examples.condition)
        image, scores = map(
            jnp.asarray, network.apply({"params": params}, sketch, reference, method="colour")
        )
        loss = weights.reconstruction * scft_losses.absolute_error(image, target)
        if weights.adversarial:
            of_generator, of_discriminator = scft_losses.adversarial_losses(
                image,
                target,
                sketch,
                judge=functools.partial(judge, params),
                frozen_judge=functools.partial(judge, jax.lax.stop_gradient(params)),
            )
            loss += weights.adversarial * (of_generator + of_discriminator)
        if weights.perceptual or weights.style:
            features, wanted = (
                perceptual.vgg16_blocks(0.5 * (x + 1.0), blocks) for x in (image, target)
            )
            loss += weights.perceptual * scft_losses.perceptual_loss(features, wanted)
            loss += weights.style * scft_losses.style_loss(features, wanted)
        if weights.triplet:
            correspondence = scft_losses.correspondence_weights(examples.warp_map, cell)
            loss += weights.triplet * scft_losses.triplet_loss(
                scores, correspondence, weights.margin
            )
        return loss

    return loss_fn


def problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields what does not fit SCFT, a line each."""
    if config.train.loss == "scft":
        if config.model.name != "scft":
            yield (
                f"train.loss is 'scft', which trains no {config.model.name!r}; set model.name to "
                "'scft', or train.loss to 'denoising'"
            )
        if not any(config.train.scft[term] > 0 for term in TERMS):
            yield f"train.scft.{' and train.scft.'.join(TERMS)} are all 0; set one of them"
    if config.model.name == "scft":
        for field, needed in _NEEDED.items():
            section, name = field.split(".")
            value = config[section][name]
            if value != needed:
                yield (
                    f"{field} is {value!r}, but model.name 'scft' needs {needed!r}; set it so, or "
                    "start from configs/scft.py"
                )
