"""Pretraining: from pictures and a sigma scale to a trained denoiser.

    calibration.json + pictures -> checkpoints/pretrain, metrics.jsonl, samples/*.png

Run again, it continues from the newest checkpoint, or says that it is done.
"""

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
import optax
from clu import parameter_overview

from ssimbad_jax.data import conditions, pipeline
from ssimbad_jax.diffusion import losses, schedule
from ssimbad_jax.stages import components, continuation, pictures, solvers
from ssimbad_jax.training import (
    checkpoint,
    loop,
    metric_log,
    optimizer,
    progress,
    recovery,
    sharding,
)
from ssimbad_jax.training import state as state_lib

GRID_PICTURES = 8
SECONDS_A_DAY = 86400

# Independent streams of the run's key.
_INIT, _TRAIN, _VALIDATION, _SAMPLE = range(4)

# A stream of a step's key, apart from the three that it is split into for all else.
_DROP = 3


class Examples(NamedTuple):
    """A batch with everything random drawn.

    Attributes:
        image: `[B, H, W, 3]` in [-1, 1].
        condition: `[B, H, W, 4]`, sketch and reference.
        sigma: `[B]`.
        noise: `[B, H, W, 3]`, standard normal.
    """

    image: jax.Array
    condition: jax.Array
    sigma: jax.Array
    noise: jax.Array


def train(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Trains the denoiser of `config`.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: where everything is written.

    Raises:
        loop.NonFiniteError: the training diverged.
        ValueError: there are too few pictures, or a checkpoint does not fit.
        DamagedError: there are checkpoints, and all are damaged.
        SaveError: a checkpoint could not be written.
        Interrupted: a signal asked to stop; what was done is saved.
    """
    mesh = sharding.data_mesh()
    key = jax.random.key(config.seed)
    training, validation = components.training_split(config)
    noise_schedule = components.noise_schedule(config, workdir)
    settings = components.optimizer_settings(config, len(training))
    tx = optimizer.make_optimizer(settings)
    checkpoints = checkpoint.Checkpoints(
        workdir / components.CHECKPOINTS, config.train.keep_checkpoints
    )

    run_config = continuation.record(config, training.fingerprint)
    state, samples = _start_or_continue(config, key, tx, mesh, checkpoints, run_config)
    if int(state.step) >= settings.total_steps:
        progress.say(f"train: done already, {checkpoints.path(int(state.step))}")
        checkpoints.close()
        return

    draw = functools.partial(draw_examples, config=config, noise_schedule=noise_schedule)
    loss_fn = pretraining_loss(config, noise_schedule)
    train_step = jax.jit(
        state_lib.make_train_step(
            functools.partial(draw_training_examples, config=config, noise_schedule=noise_schedule),
            loss_fn,
            tx,
            state_lib.Averaging(config.train.ema_half_life, config.train.batch_size),
            config.train.accumulate,
        ),
        in_shardings=(
            sharding.replicated(mesh),
            sharding.over_batch(mesh),
            sharding.replicated(mesh),
        ),
        out_shardings=sharding.replicated(mesh),
        donate_argnums=0,
    )
    held_out = _held_out_batch(config, validation, mesh)
    local_batches = pipeline.train_batches(
        training,
        seed=config.seed,
        batch_size=config.train.batch_size,
        start=samples,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=config.data.num_workers,
    )
    log = metric_log.MetricLog(workdir, int(state.step))
    with contextlib.ExitStack() as closing:
        # Each of them, even if the disk is full and closing another raises.
        for resource in (checkpoints, log, local_batches):
            closing.callback(resource.close)
        state = loop.train(
            train_step,
            state,
            _on_devices(local_batches, mesh),
            jax.random.fold_in(key, _TRAIN),
            samples=samples,
            settings=_loop_settings(config, settings.total_steps),
            run_config=run_config,
            hooks=loop.Hooks(
                learning_rate=optimizer.learning_rate_schedule(settings),
                validate=_validator(draw, loss_fn, held_out, key),
                sample=_picture_drawer(config, noise_schedule, held_out, key, workdir),
                announce=_announce,
            ),
            checkpoints=checkpoints,
            log=log,
        )
    progress.say(
        f"train: {int(state.step)} steps done. Checkpoints are in {checkpoints.directory}, the "
        f"log in {workdir / 'metrics.jsonl'}, pictures in {workdir / 'samples'}"
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
    condition_key, sigma_key, noise_key = jax.random.split(key, 3)
    made = conditions.make_conditions(
        condition_key, batch, image_size=config.data.image_size, warp=config.data.warp
    )
    return Examples(
        image=made.image,
        condition=made.condition,
        sigma=noise_schedule.sample_sigma(sigma_key, made.image.shape[:1]),
        noise=jax.random.normal(noise_key, made.image.shape),
    )


def draw_training_examples(
    key: jax.Array,
    batch: dict[str, jax.Array],
    *,
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
) -> Examples:
    """Draws examples, some without conditions, as `train.drop_sketch|drop_reference` say.

    Validation draws with `draw_examples`, so that its losses stay comparable.
    """
    examples = draw_examples(key, batch, config=config, noise_schedule=noise_schedule)
    dropped = config.train.drop_sketch, config.train.drop_reference
    if not any(dropped):
        return examples
    drop_key = jax.random.fold_in(key, _DROP)
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


def _new_state(
    config: ml_collections.ConfigDict, tx: optax.GradientTransformation, key: jax.Array
) -> state_lib.TrainState:
    return state_lib.init_state(components.init_params(config, key), tx)


def _start_or_continue(
    config: ml_collections.ConfigDict,
    key: jax.Array,
    tx: optax.GradientTransformation,
    mesh: jax.sharding.Mesh,
    checkpoints: checkpoint.Checkpoints,
    run_config: dict[str, Any],
) -> tuple[state_lib.TrainState, int]:
    """Returns a new state, or the newest checkpoint's, and the next sample's number."""
    everywhere = sharding.replicated(mesh)
    init = jax.jit(functools.partial(_new_state, config, tx), out_shardings=everywhere)
    init_key = jax.random.fold_in(key, _INIT)
    abstract = components.with_sharding(jax.eval_shape(init, init_key), everywhere)
    restored = recovery.restore_newest(checkpoints, abstract)
    if restored is None:
        state = init(init_key)
        count = parameter_overview.count_parameters(state.params)
        progress.say(f"train: {count:,} parameters, {mesh.size} device(s), a new run")
        return state, 0
    step = int(restored.state.step)
    if not config.train.accept_changes:
        continuation.check(restored.run_config, run_config, checkpoints.path(step))
    progress.say(f"train: continues from step {step}, {checkpoints.path(step)}")
    return restored.state, restored.samples


def _loop_settings(config: ml_collections.ConfigDict, total_steps: int) -> loop.LoopSettings:
    return loop.LoopSettings(
        total_steps=total_steps,
        batch_size=config.train.batch_size,
        log_every=config.train.log_every,
        validate_every=config.train.validate_every,
        sample_every=config.train.sample_every,
        checkpoint_every=config.train.checkpoint_every,
    )


def _on_devices(batches: Iterator[Any], mesh: jax.sharding.Mesh) -> Iterator[dict[str, jax.Array]]:
    for batch in pipeline.to_device(batches, sharding.over_batch(mesh)):
        batch.pop("index")
        yield batch


def _held_out_batch(
    config: ml_collections.ConfigDict, validation: pipeline.Records, mesh: jax.sharding.Mesh
) -> dict[str, jax.Array]:
    """Returns the fixed batch that validation losses and picture grids are made of."""
    batch = next(iter(pipeline.eval_batches(validation, batch_size=len(validation))))
    kept = {name: batch[name] for name in ("image", "sketch") if name in batch}
    # The same pictures whatever the number of devices: what does not divide among them is copied.
    divides = len(validation) % mesh.size == 0
    return jax.device_put(kept, sharding.over_batch(mesh) if divides else sharding.replicated(mesh))


def _validator(
    draw: Callable[..., Examples],
    loss_fn: state_lib.LossFn,
    held_out: dict[str, jax.Array],
    key: jax.Array,
) -> Callable[[state_lib.TrainState], float]:
    """Returns the mean loss of the averaged parameters, with frozen sigmas and noise."""
    examples = jax.jit(draw)(jax.random.fold_in(key, _VALIDATION), held_out)
    mean_loss = jax.jit(lambda params, examples: loss_fn(params, examples).mean())
    return lambda state: float(mean_loss(state.ema_params, examples))


def _picture_drawer(
    config: ml_collections.ConfigDict,
    noise_schedule: schedule.Schedule,
    held_out: dict[str, jax.Array],
    key: jax.Array,
    workdir: pathlib.Path,
) -> Callable[[state_lib.TrainState], None]:
    """Returns a function that colours held-out sketches from fixed noise and saves the grid."""
    key = jax.random.fold_in(key, _SAMPLE)
    sample = jax.jit(solvers.sample(config, noise_schedule))
    examples = jax.jit(
        functools.partial(draw_examples, config=config, noise_schedule=noise_schedule)
    )(key, held_out)
    shown = jax.tree.map(lambda x: sharding.fetch(x)[:GRID_PICTURES], examples)

    def draw_pictures(state: state_lib.TrainState) -> None:
        if jax.process_index() > 0:
            return
        params = jax.tree.map(np.asarray, state.ema_params)
        result = sample(params, shown.noise, shown.condition, key)
        path = workdir / "samples" / f"{int(state.step):08d}.png"
        columns = [shown.condition[..., :1], shown.condition[..., 1:], result, shown.image]
        pictures.save_grid(
            path,
            [np.asarray(conditions.to_uint8(column)) for column in columns],
            titles=["sketch", "reference", "result", "target"],
        )

    return draw_pictures


def _announce(seconds: float) -> None:
    message = f"train: the rest of the run will take about {progress.format_duration(seconds)} here"
    if seconds > SECONDS_A_DAY:
        message += "; for results within minutes run the quick start: make quickstart"
    progress.say(message)
