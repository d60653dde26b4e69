"""Trajectory refinement: the network is trained through the solver that will sample with it.

    checkpoints/pretrain + pictures
        -> checkpoints/refine, refine/metrics.jsonl, refine/samples/*.png

Noise -> K steps of the solver -> image -> distance to the target -> gradient through all steps
(Seo et al. 2025, section on trajectory refinement). The loop is that of pretraining.
"""

import functools
import pathlib
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.diffusion import denoiser, inversion, losses, schedule, trajectory_gradient
from ssimbad_jax.metrics import ms_ssim
from ssimbad_jax.models import perceptual
from ssimbad_jax.stages import components, continuation, solvers, train, training_run, weights
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import progress, sharding
from ssimbad_jax.training import state as state_lib

FOLDER = pathlib.Path("refine")

# What `refine.losses` can be made of; each is built when it is used, as LPIPS reads its weights.
DISTANCES: dict[str, Callable[[], losses.ImageDistance]] = {
    "mse": lambda: losses.squared_error,
    "bounded": lambda: losses.bounded_squared_error,
    "paper": lambda: losses.clipped_squared_error,
    "ms_ssim": lambda: lambda a, b: 1.0 - ms_ssim.ms_ssim(a, b),
    "lpips_alex": lambda: perceptual.lpips("alex"),
    "lpips_vgg": lambda: perceptual.lpips("vgg"),
}


class Examples(NamedTuple):
    """A batch with everything random drawn.

    Attributes:
        image: `[B, H, W, 3]` in [-1, 1], the target.
        condition: `[B, H, W, 4]`, sketch and reference.
        sigma: `[B]`, for the share of denoising loss.
        noise: `[B, H, W, 3]`, standard normal; walks start from it.
        length: `[B]`, steps of the walk, equal for the whole batch.
        gradient_steps: `[B]`, how many of them, from the last, the gradient goes through.
        key: `[B]`, of what the sampler draws.
    """

    image: jax.Array
    condition: jax.Array
    sigma: jax.Array
    noise: jax.Array
    length: jax.Array
    gradient_steps: jax.Array
    key: jax.Array


def refine(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, following: Collection[str] = ()
) -> None:
    """Refines the newest pretrained weights; see `training_run.run` for arguments and other errors.

    Raises:
        FileNotFoundError: there is no pretraining to start from.
    """
    mesh = usable_mesh(config)
    pretrained = starting_point(config, workdir, mesh)
    noise_schedule = components.noise_schedule(config, workdir)
    progress.say(
        f"refine: through {solvers.describe(config.refine)}, from step {pretrained.step} of the "
        "pretraining"
    )
    if caution := continuation.hold_out_caution(pretrained.kept, components.as_json(config)):
        progress.say(f"refine: {caution}")
    training_run.run(config, workdir, make_job(config, noise_schedule, pretrained), mesh, following)


def starting_point(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, mesh: jax.sharding.Mesh
) -> weights.Weights:
    """Returns the pretrained weights that refinement starts from.

    Raises:
        FileNotFoundError: there is no checkpoint of a pretraining.
        DamagedError: there are some, and all are damaged.
        ValueError: it belongs to another network.
    """
    return weights.load(config, workdir, mesh, "pretrain", config.refine.checkpoint)


def usable_mesh(config: ml_collections.ConfigDict) -> jax.sharding.Mesh:
    """Returns the mesh of as many devices as divide the batch, which may be as small as 1."""
    devices = jax.devices()
    count = len(devices)
    while config.refine.batch_size // config.refine.accumulate % count:
        count -= 1
    if count < len(devices):
        progress.say(
            f"refine: refine.batch_size = {config.refine.batch_size} keeps {count} of "
            f"{len(devices)} devices busy; a multiple of {len(devices)} would use all"
        )
    return sharding.data_mesh(devices[:count])


def make_job(
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
    pretrained: weights.Weights,
) -> training_run.Job:
    """Returns what `training_run` is to do."""
    return training_run.Job(
        name="refine",
        checkpoints=weights.FOLDERS["refine"],
        log=FOLDER,
        samples=FOLDER / "samples",
        draw=functools.partial(draw_examples, config=config, noise_schedule=noise_schedule),
        loss_fn=refinement_loss(config, noise_schedule),
        init_params=lambda: pretrained.params,
        sample=solvers.sample(solvers.of_refinement(config), noise_schedule),
        key=streams.fold_in(jax.random.key(config.seed), Stream.REFINE),
        facts={continuation.PRETRAINED_STEP: pretrained.step},
    )


def draw_examples(
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Examples:
    """Draws conditions, noise and lengths for a batch; see `train.draw_examples`."""
    length_key, gradient_key, sampler_key = (
        streams.fold_in(key, stream)
        for stream in (Stream.WALK_LENGTH, Stream.GRADIENT_STEPS, Stream.SAMPLER)
    )
    drawn = train.draw_examples(key, batch, config=config, noise_schedule=noise_schedule)
    count, settings = len(drawn.image), config.refine
    longest = settings.sampler_steps
    most_gradient = settings.gradient_steps or longest
    return Examples(
        image=drawn.image,
        condition=drawn.condition,
        sigma=drawn.sigma,
        noise=drawn.noise,
        length=_one_for_all(length_key, settings.min_sampler_steps or longest, longest, count),
        gradient_steps=_one_for_all(
            gradient_key, settings.min_gradient_steps or most_gradient, most_gradient, count
        ),
        key=streams.of_each(sampler_key, count),
    )


def refinement_loss(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> state_lib.LossFn:
    """Returns the loss of what the solver ends with, mixed with the pretraining's loss."""
    settings = config.refine
    distances = [
        (weight, DISTANCES[name]()) for name, weight in sorted(settings.losses.items()) if weight
    ]
    sample = differentiable_sample(config, noise_schedule)
    denoising_loss = train.pretraining_loss(config, noise_schedule)
    share = settings.denoising_share

    def loss_fn(params: Any, examples: Examples) -> jax.Array:
        loss = losses.refinement_loss(sample(params, examples), examples.image, distances)
        if share:
            drawn = train.Examples(
                examples.image, examples.condition, examples.sigma, examples.noise
            )
            loss = (1.0 - share) * loss + share * denoising_loss(params, drawn)
        return loss

    return loss_fn


def differentiable_sample(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> Callable[[Any, Examples], jax.Array]:
    """Returns the solver of `refine`, (params, examples) -> `[B, H, W, 3]`, not clipped."""
    settings = config.refine
    solver = solvers.SOLVERS[settings.sampler]
    options = solver.options(solvers.of_refinement(config).eval)
    denoise = components.denoise_with_params(config, noise_schedule)
    start = STARTS[settings.start](config, noise_schedule)
    longest = settings.sampler_steps
    shortest = settings.min_sampler_steps or longest
    grids = np.stack(
        [
            trajectory_gradient.padded_grid(_grid(config, noise_schedule, steps), longest)
            for steps in range(shortest, longest + 1)
        ]
    )
    most_gradient = settings.gradient_steps or longest
    # Python numbers where nothing is drawn, so that what is not needed is not compiled.
    length_is_drawn = shortest < longest
    gradient_is_drawn = 0 < settings.min_gradient_steps < most_gradient

    def sample(params: Any, examples: Examples) -> jax.Array:
        length = examples.length[0] if length_is_drawn else longest
        gradient_steps = examples.gradient_steps[0] if gradient_is_drawn else most_gradient
        grid = jnp.asarray(grids, jnp.float32)[length - shortest if length_is_drawn else 0]

        def of_examples(noisy: jax.Array, sigma: jax.Array) -> jax.Array:
            return denoise(params, noisy, sigma, examples.condition)

        return solver.sampler(
            of_examples,
            start(of_examples, examples, grid),
            grid,
            key=streams.fold_in(examples.key, Stream.WALK),
            walk=trajectory_gradient.rematerialised_walk(
                longest - length, longest - gradient_steps
            ),
            **options,
        )

    return sample


def _pure_noise(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> Callable[[denoiser.DenoiseFn, Examples, jax.Array], jax.Array]:
    def noise(denoise: denoiser.DenoiseFn, examples: Examples, grid: jax.Array) -> jax.Array:
        return noise_schedule.start(examples.noise, grid[0])

    return noise


def _encoded_target(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> Callable[[denoiser.DenoiseFn, Examples, jax.Array], jax.Array]:
    def encoded(denoise: denoiser.DenoiseFn, examples: Examples, grid: jax.Array) -> jax.Array:
        found = inversion.encode(
            denoise,
            examples.image,
            examples.noise,
            grid,
            clip_denoised=config.refine.clip_denoised,
        )
        return jax.lax.stop_gradient(found)

    return encoded


# What `refine.start` means: what a walk starts with, in units of its first noise level.
STARTS = {"noise": _pure_noise, "target": _encoded_target}


def _grid(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule, steps: int
) -> np.ndarray:
    deployed = solvers.of_refinement(config)
    deployed.eval.sampler_steps = steps
    return solvers.sigma_grid(deployed, noise_schedule)


def _one_for_all(key: jax.Array, low: int, high: int, count: int) -> jax.Array:
    """Returns one number out of low..high, `count` times."""
    return jnp.broadcast_to(jax.random.randint(key, (), low, high + 1), (count,))
