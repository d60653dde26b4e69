"""Pretraining: from pictures and a sigma scale to a trained denoiser.

calibration.json + pictures -> checkpoints/pretrain, metrics.jsonl, samples/*.png
"""

import functools
import pathlib
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import ml_collections

from ssimbad_jax import streams
from ssimbad_jax.data import conditions
from ssimbad_jax.diffusion import losses, schedule
from ssimbad_jax.stages import components, scft_loss, solvers, training_run, weights
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import sharding
from ssimbad_jax.training import state as state_lib

# A stream of the run's key, apart from those of `training_run`.
_INIT = 0

# Streams of a step's key, apart from the three that it is split into for all else.
_DROP, _JITTER = 3, 4


class Examples(NamedTuple):
    """A batch with everything random drawn.

    Attributes:
        image: `[B, H, W, 3]` in [-1, 1].
        condition: `[B, H, W, 4]`, sketch and reference.
        sigma: `[B]`.
        noise: `[B, H, W, 3]`, standard normal.
        warp_map: `[B, H, W, 2]`, see `conditions.Conditioned`; for losses that use it.
    """

    image: jax.Array
    condition: jax.Array
    sigma: jax.Array
    noise: jax.Array
    warp_map: jax.Array | None = None


def train(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, following: Collection[str] = ()
) -> None:
    """Trains the denoiser of `config`; see `training_run.run` for arguments and errors raised."""
    mesh = sharding.data_mesh()
    noise_schedule = components.noise_schedule(config, workdir)
    training_run.run(config, workdir, make_job(config, noise_schedule, mesh), mesh, following)


def make_job(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule, mesh: jax.sharding.Mesh
) -> training_run.Job:
    """Returns what `training_run` is to do."""
    key = jax.random.key(config.seed)
    init = jax.jit(
        functools.partial(components.init_params, config),
        out_shardings=sharding.replicated(mesh),
    )
    return training_run.Job(
        name="train",
        checkpoints=weights.FOLDERS["pretrain"],
        log=pathlib.Path(),
        samples=pathlib.Path("samples"),
        draw=functools.partial(draw_examples, config=config, noise_schedule=noise_schedule),
        loss_fn=LOSSES[config.train.loss](config, noise_schedule),
        init_params=lambda: init(streams.fold_in(key, Stream.INIT)),
        sample=solvers.sample(config, noise_schedule),
        key=key,
        sigma_of=lambda examples: examples.sigma,
        draw_training=functools.partial(
            draw_training_examples, config=config, noise_schedule=noise_schedule
        ),
    )


def draw_examples(
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Examples:
    """Draws conditions, noise levels and noise for a batch of stored pictures.

    Args:
        key: key of the step.
        batch: see `conditions.make_conditions`.
        config: `data.image_size` and `data.warp` are read.
        noise_schedule: draws sigma.

    Returns:
        The examples.
    """
    made = conditions.make_conditions(
        streams.fold_in(key, Stream.CONDITIONS),
        batch,
        image_size=config.data.image_size,
        warp=config.data.warp,
    )
    return Examples(
        image=made.image,
        condition=made.condition,
        sigma=noise_schedule.sample_sigma(streams.fold_in(key, Stream.SIGMA), made.image.shape[:1]),
        noise=jax.random.normal(streams.fold_in(key, Stream.NOISE), made.image.shape),
        warp_map=made.warp_map,
    )


def draw_training_examples(
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Examples:
    """Draws examples, some recoloured or without conditions.

    `data.colour_jitter`, `train.drop_sketch` and `train.drop_reference` say how. Validation draws
    with `draw_examples`, so that its losses stay comparable.
    """
    examples = draw_examples(key, batch, config=config, noise_schedule=noise_schedule)
    if config.data.colour_jitter:
        image, condition = conditions.jitter_colours(
            streams.fold_in(key, Stream.COLOUR_JITTER),
            examples.image,
            examples.condition,
            config.data.colour_jitter,
        )
        examples = examples._replace(image=image, condition=condition)
    dropped = config.train.drop_sketch, config.train.drop_reference
    if not any(dropped):
        return examples
    drop_key = streams.fold_in(key, Stream.DROP)
    return examples._replace(condition=conditions.drop(drop_key, examples.condition, *dropped))


def pretraining_loss(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> state_lib.LossFn:
    """Returns the weighted denoising loss of each example."""
    denoise = components.denoise_with_params(config, noise_schedule)
    weighting = components.weighting(config)

    def loss_fn(params: Any, examples: Examples) -> jax.Array:
        loss = losses.denoising_loss(
            lambda noisy, sigma: denoise(params, noisy, sigma, examples.condition),
            examples.image,
            examples.sigma,
            examples.noise,
        )
        return weighting(examples.sigma) * loss

    return loss_fn


# What `train.loss` means.
LOSSES: dict[str, Callable[[ml_collections.ConfigDict, schedule.Schedule], state_lib.LossFn]] = {
    "denoising": pretraining_loss,
    "scft": scft_loss.scft_loss,
}
