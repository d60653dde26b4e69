"""What every training does, whatever its loss: data, checkpoints, the loop, the log, pictures.

Run again, a training continues from its newest checkpoint, or says that it is done.
"""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax
import ml_collections
from clu import parameter_overview

from ssimbad_jax import streams
from ssimbad_jax.data import pipeline
from ssimbad_jax.stages import components, continuation, held_out, solvers, time_left
from ssimbad_jax.streams import Stream
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

SECONDS_A_DAY = 86400


@dataclasses.dataclass(frozen=True)
class Job:
    """What one training differs from another in.

    Attributes:
        name: of the stage and its section of the config.
        checkpoints: folder in the workdir.
        log: folder in the workdir, for `metrics.jsonl` and TensorBoard.
        samples: folder in the workdir, for pictures.
        draw: makes examples of a batch; has `image`, `condition` and `noise`.
        loss_fn: loss of each example.
        init_params: the parameters that a new training starts from.
        sample: draws the pictures.
        key: of the training; steps fold in their number.
        facts: what checkpoints keep beside the config, and a continuation has to have again.
        sigma_of: noise level of each example, for the log; None where there is no single one.
        draw_training: makes the examples of training alone; None where `draw` makes them, too.
    """

    name: str
    checkpoints: pathlib.Path
    log: pathlib.Path
    samples: pathlib.Path
    draw: state_lib.DrawFn
    loss_fn: state_lib.LossFn
    init_params: Callable[[], Any]
    sample: solvers.Sample
    key: jax.Array
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    sigma_of: Callable[[Any], jax.Array] | None = None
    draw_training: state_lib.DrawFn | None = None


def run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    job: Job,
    mesh: jax.sharding.Mesh,
    following: Collection[str] = (),
) -> None:
    """Trains to the end.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: where everything is written.
        job: what to train.
        mesh: the devices.
        following: the stages to come, for what is said of the time left.

    Raises:
        loop.NonFiniteError: the training diverged.
        ValueError: there are too few pictures for a batch or too few steps for the warm-up, or a
            checkpoint does not fit.
        DamagedError: there are checkpoints, and all are damaged.
        SaveError: a checkpoint could not be written.
        Interrupted: a signal asked to stop; what was done is saved.
    """
    section = config[job.name]
    training, validation = components.training_split(config)
    if len(training) < section.batch_size:
        raise ValueError(
            f"{job.name}.batch_size is {section.batch_size}, but there are {len(training)} "
            f"pictures to train on, and {len(validation)} more for validation; lower it, or add "
            "pictures"
        )
    settings = components.optimizer_settings(section, len(training))
    if settings.warmup_steps >= settings.total_steps:
        raise ValueError(
            f"{job.name}.warmup_steps is {settings.warmup_steps}, not less than the "
            f"{settings.total_steps} steps that {job.name}.epochs = {section.epochs} makes of "
            f"{len(training)} pictures; lower it, or set it to -1 for one epoch"
        )
    checkpoints = checkpoint.Checkpoints(workdir / job.checkpoints, section.keep_checkpoints)
    run_config = continuation.record(config, training.fingerprint) | job.facts
    tx = optimizer.make_optimizer(settings)
    new_state = functools.partial(state_lib.init_state, optimizer=tx)
    restored = _restore(config, new_state, mesh, checkpoints, run_config, job)
    if jax.process_index() == 0:
        # Not before: a config that may not continue has to leave the run's own in place.
        components.save_config(config, workdir)
    samples_folder = workdir / job.samples
    if restored is not None and (step := int(restored.state.step)) >= settings.total_steps:
        if held_out.lacks_pictures(samples_folder, step):
            shown = held_out.first_batch(validation, mesh)
            _picture_drawer(job, shown, samples_folder)(restored.state)
        progress.say(f"{job.name}: done already, {checkpoints.path(step)}")
        checkpoints.close()
        return
    if restored is not None:
        state, samples = restored.state, restored.samples
    else:
        params = jax.device_put(job.init_params(), sharding.replicated(mesh))
        state, samples = jax.jit(new_state)(params), 0
        count = parameter_overview.count_parameters(state.params)
        progress.say(f"{job.name}: {count:,} parameters, {mesh.size} device(s), a new run")

    train_step = compile_step(config, job, tx, mesh)
    held_out_batches = held_out.make_batches(
        validation, section.batch_size // section.accumulate, mesh
    )
    local_batches = pipeline.train_batches(
        training,
        seed=config.seed,
        batch_size=section.batch_size,
        start=samples,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
        num_workers=config.data.num_workers,
    )
    log = metric_log.MetricLog(workdir / job.log, int(state.step))
    with contextlib.ExitStack() as closing:
        # Each of them, even if the disk is full and closing another raises.
        for resource in (checkpoints, log, local_batches):
            closing.callback(resource.close)
        state = loop.train(
            train_step,
            state,
            _on_devices(local_batches, mesh),
            streams.fold_in(job.key, Stream.TRAIN),
            samples=samples,
            settings=_loop_settings(job.name, section, settings.total_steps),
            run_config=run_config,
            hooks=loop.Hooks(
                learning_rate=optimizer.learning_rate_schedule(settings),
                validate=held_out.validator(
                    job.draw,
                    job.loss_fn,
                    streams.fold_in(job.key, Stream.VALIDATION),
                    held_out_batches,
                ),
                sample=_picture_drawer(job, held_out.first_batch(validation, mesh), samples_folder),
                lacks_pictures=functools.partial(held_out.lacks_pictures, samples_folder),
                announce=functools.partial(
                    _announce, job.name, config, following, len(training), mesh.size
                ),
            ),
            checkpoints=checkpoints,
            log=log,
        )
    progress.say(
        f"{job.name}: {int(state.step)} steps done. Checkpoints are in {checkpoints.directory}, "
        f"the log in {workdir / job.log / 'metrics.jsonl'}, pictures in {samples_folder}"
    )


def compile_step(
    config: ml_collections.ConfigDict,
    job: Job,
    tx: Any,
    mesh: jax.sharding.Mesh,
) -> Any:
    """Returns the jitted step (state, batch, key) -> (state, metrics), which donates the state."""
    section = config[job.name]
    everywhere = sharding.replicated(mesh)
    return jax.jit(
        state_lib.make_train_step(
            job.draw_training or job.draw,
            job.loss_fn,
            tx,
            state_lib.Averaging(section.ema_half_life, section.batch_size),
            section.accumulate,
            job.sigma_of,
        ),
        in_shardings=(everywhere, sharding.over_batch(mesh), everywhere),
        out_shardings=everywhere,
        donate_argnums=0,
    )


def _restore(
    config: ml_collections.ConfigDict,
    new_state: Callable[[Any], state_lib.TrainState],
    mesh: jax.sharding.Mesh,
    checkpoints: checkpoint.Checkpoints,
    run_config: dict[str, Any],
    job: Job,
) -> checkpoint.Restored | None:
    """Returns the newest checkpoint, None where there is none.

    Raises:
        ValueError: it was trained with another config.
    """
    everywhere = sharding.replicated(mesh)
    abstract = jax.eval_shape(new_state, components.abstract_params(config, everywhere))
    restored = recovery.restore_newest(checkpoints, components.with_sharding(abstract, everywhere))
    if restored is None:
        return None
    step = int(restored.state.step)
    if not config[job.name].accept_changes:
        continuation.check(restored.run_config, run_config, checkpoints.path(step), job.name)
    progress.say(f"{job.name}: continues from step {step}, {checkpoints.path(step)}")
    return restored


def _loop_settings(
    name: str, section: ml_collections.ConfigDict, total_steps: int
) -> loop.LoopSettings:
    return loop.LoopSettings(
        name=name,
        total_steps=total_steps,
        batch_size=section.batch_size,
        log_every=section.log_every,
        validate_every=section.validate_every,
        sample_every=section.sample_every,
        checkpoint_every=section.checkpoint_every,
    )


def _on_devices(batches: Iterator[Any], mesh: jax.sharding.Mesh) -> Iterator[dict[str, jax.Array]]:
    for batch in pipeline.to_device(batches, sharding.over_batch(mesh)):
        batch.pop("index")
        yield batch


def _picture_drawer(
    job: Job, batch: held_out.Batch, folder: pathlib.Path
) -> Callable[[state_lib.TrainState], None]:
    of_examples, of_sampler = (
        streams.fold_in(job.key, stream) for stream in (Stream.GRID_EXAMPLES, Stream.GRID_SAMPLER)
    )
    return held_out.picture_drawer(job.draw, job.sample, (of_examples, of_sampler), batch, folder)


def _announce(
    name: str,
    config: ml_collections.ConfigDict,
    following: Collection[str],
    num_training: int,
    num_devices: int,
    seconds_per_step: float,
    steps_left: int,
) -> None:
    rest = seconds_per_step * steps_left
    after = time_left.seconds_after(
        name, config, following, seconds_per_step, num_training, num_devices
    )
    total = rest + sum(after.values())
    message = f"{name}: the rest will take about {progress.format_duration(rest)} here"
    if after:
        each = (f"{what} {progress.format_duration(seconds)}" for what, seconds in after.items())
        message += f", then {' and '.join(each)}, {progress.format_duration(total)} in all"
    if total > SECONDS_A_DAY:
        message += "; for results within minutes run the quick start: make quickstart"
    progress.say(message)
