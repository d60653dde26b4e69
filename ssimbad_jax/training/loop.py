"""The training loop, for pretraining and whatever else has a loss."""

import collections
import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from ssimbad_jax.training import checkpoint, interruption, metric_log, progress
from ssimbad_jax.training import state as state_lib

# The host reads a step's metrics this many steps late, so that the devices never wait for it.
READING_LAG = 2
STEPS_BEFORE_ESTIMATE = 3


class NonFiniteError(RuntimeError):
    """The loss or the gradient of a step is not a finite number."""


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """Lengths and intervals of a training, in steps.

    Attributes:
        name: of the training, for what is said about it.
        total_steps: steps in all.
        batch_size: pictures a step.
        log_every: steps between rows of the log.
        validate_every: steps between validation losses.
        sample_every: steps between picture grids.
        checkpoint_every: steps between checkpoints; each is validated, too.
    """

    name: str
    total_steps: int
    batch_size: int
    log_every: int
    validate_every: int
    sample_every: int
    checkpoint_every: int

    def is_saved(self, step: int) -> bool:
        """Returns whether a checkpoint is due after a step."""
        return step % self.checkpoint_every == 0 or step == self.total_steps

    def is_validated(self, step: int) -> bool:
        """Returns whether a validation loss is due after a step."""
        return step % self.validate_every == 0 or self.is_saved(step)

    def is_sampled(self, step: int) -> bool:
        """Returns whether pictures are due after a step."""
        return step % self.sample_every == 0 or step == self.total_steps


@dataclasses.dataclass(frozen=True)
class Hooks:
    """What the loop calls beside the step.

    Attributes:
        learning_rate: learning rate at a step.
        validate: validation loss of a state.
        sample: draws pictures of a state.
        lacks_pictures: whether there are no pictures of a step yet.
        announce: told the seconds that a step takes and the steps left, once.
    """

    learning_rate: Callable[[int], float]
    validate: Callable[[state_lib.TrainState], float]
    sample: Callable[[state_lib.TrainState], None]
    lacks_pictures: Callable[[int], bool]
    announce: Callable[[float, int], None]


def train(
    train_step: Callable[..., tuple[state_lib.TrainState, state_lib.Metrics]],
    state: state_lib.TrainState,
    batches: Iterator[Any],
    key: jax.Array,
    *,
    samples: int,
    settings: LoopSettings,
    run_config: dict[str, Any],
    hooks: Hooks,
    checkpoints: checkpoint.Checkpoints,
    log: metric_log.MetricLog,
) -> state_lib.TrainState:
    """Trains from the state's step to the end, saving on the way and at the end.

    Args:
        train_step: the jitted step, which donates the state.
        state: where to start.
        batches: global batches on the devices, starting with sample number `samples`.
        key: key of the run; steps fold in their number.
        samples: global number of the next training sample.
        settings: lengths and intervals.
        run_config: kept in the checkpoints.
        hooks: what else to call.
        checkpoints: where to save.
        log: where to write.

    Returns:
        The last state.

    Raises:
        NonFiniteError: a loss or gradient was not finite. The state before that step is saved.
        SaveError: a checkpoint could not be written.
        Interrupted: a signal asked to stop. The state after the step under way is saved.
    """
    start, name = int(state.step), settings.name

    def samples_after(step: int) -> int:
        # The steps before `start` may have had another batch size.
        return samples + (step - start) * settings.batch_size

    reader = _MetricReader(log, hooks.learning_rate, samples_after, settings)
    estimate = _Estimate(settings.total_steps, hooks.announce)

    def save(state: state_lib.TrainState, validate: bool = True) -> None:
        validation_loss = hooks.validate(state) if validate else None
        if validation_loss is not None:
            log.write(int(state.step), {"validation_loss": validation_loss})
        checkpoints.save(
            state,
            samples=samples_after(int(state.step)),
            run_config=run_config,
            validation_loss=validation_loss,
        )

    with (
        progress.Progress(name, settings.total_steps, start) as bar,
        interruption.deferred(),
    ):
        if start > 0:
            _catch_up(state, settings, hooks, log)
        for step in range(start + 1, settings.total_steps + 1):
            state, metrics = train_step(state, next(batches), key)
            estimate.after(step - start, step, metrics)
            if step == start + 1:
                reader.leave_out_compilation()
            at_checkpoint = settings.is_saved(step)
            stops = interruption.is_requested(step)
            checkpoints.check()
            try:
                reader.push(step, metrics, flush=at_checkpoint or stops)
            except NonFiniteError as error:
                good = checkpoints.latest_step()
                if good != int(state.step):
                    save(state)
                checkpoints.wait()
                # Saving may have taken the place of the one before.
                before = good if good in checkpoints.steps() else None
                raise NonFiniteError(
                    _describe_stop(error, before, state, checkpoints, name)
                ) from None
            # Whoever sends a signal may not wait long: the next start does what is left out.
            if settings.is_sampled(step) and not stops:
                with reader.paused(state):
                    hooks.sample(state)  # before it is saved: whoever is killed here draws again
            if at_checkpoint or stops:
                with reader.paused(state):
                    save(state, validate=at_checkpoint)
            elif settings.is_validated(step):
                with reader.paused(state):
                    log.write(step, {"validation_loss": hooks.validate(state)})
            bar.advance(note=reader.note)
            if stops:
                checkpoints.wait()
                seconds = interruption.seconds_since_signal()
                raise interruption.Interrupted(
                    f"{name}: stopped after step {step} of {settings.total_steps}, saved as "
                    f"{checkpoints.path(step)} {seconds:.1f} s after the signal",
                    agreed=True,
                )
        checkpoints.wait()
    return state


def _catch_up(
    state: state_lib.TrainState, settings: LoopSettings, hooks: Hooks, log: metric_log.MetricLog
) -> None:
    """Does what a signal left out at the step that a training continues from."""
    step = int(state.step)
    if settings.is_validated(step) and log.lacks(step, "validation_loss"):
        log.write(step, {"validation_loss": hooks.validate(state)})
    if settings.is_sampled(step) and hooks.lacks_pictures(step):
        hooks.sample(state)


class _MetricReader:
    """Reads the metrics of steps a little late, checks them, and logs their means."""

    def __init__(
        self,
        log: metric_log.MetricLog,
        learning_rate: Callable[[int], float],
        samples_after: Callable[[int], int],
        settings: LoopSettings,
    ):
        self.note = ""
        self._log, self._settings = log, settings
        self._learning_rate, self._samples_after = learning_rate, samples_after
        self._pending: collections.deque[tuple[int, state_lib.Metrics]] = collections.deque()
        self._window: list[dict[str, np.ndarray]] = []
        self._window_begin, self._untimed = time.monotonic(), 0

    def push(self, step: int, metrics: state_lib.Metrics, flush: bool) -> None:
        """Takes the metrics of a step; `flush` reads all that wait and writes a row."""
        self._pending.append((step, metrics))
        while len(self._pending) > (0 if flush else READING_LAG):
            read_step, read_metrics = self._pending.popleft()
            self._read(read_step, jax.device_get(read_metrics))
        if flush and self._window:
            self._write_row(step)

    def leave_out_compilation(self) -> None:
        """Leaves the first step out of the pictures a second, when it is done."""
        self._window_begin, self._untimed = time.monotonic(), 1

    @contextlib.contextmanager
    def paused(self, state: state_lib.TrainState) -> Iterator[None]:
        """Leaves the time meanwhile out of the pictures a second, when all steps are done."""
        jax.block_until_ready(state)
        begin = time.monotonic()
        yield
        self._window_begin += time.monotonic() - begin

    def _read(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        if not metrics["is_finite"]:
            name = "loss" if not np.isfinite(metrics["loss"]) else "gradient_norm"
            raise NonFiniteError(f"At step {step} the {name} is {metrics[name]}")
        self._window.append(metrics)
        self.note = f"loss {np.mean([m['loss'] for m in self._window]):.4f}"
        if step % self._settings.log_every == 0:
            self._write_row(step)

    def _write_row(self, step: int) -> None:
        mean = {name: np.mean([m[name] for m in self._window], axis=0) for name in self._window[0]}
        now = time.monotonic()
        row = {
            name: float(mean[name])
            for name in ("loss", "gradient_norm", "update_norm", "parameter_norm")
        }
        row["learning_rate"] = float(self._learning_rate(step - 1))
        if timed := len(self._window) - self._untimed:
            seconds = max(now - self._window_begin, 1e-9)
            row["images_per_second"] = timed * self._settings.batch_size / seconds
        row["samples"] = self._samples_after(step)
        lower = 0.0
        for index, upper in enumerate(state_lib.SIGMA_RANGES):
            if "sigma_range_count" in mean and mean["sigma_range_count"][index] > 0:
                row[f"loss_sigma_{lower:g}_to_{upper:g}"] = float(
                    mean["sigma_range_loss"][index] / mean["sigma_range_count"][index]
                )
            lower = upper
        self._log.write(step, row)
        self._window, self._window_begin, self._untimed = [], now, 0


class _Estimate:
    """Times the first steps and announces how long one takes, and how many are left."""

    def __init__(self, total_steps: int, announce: Callable[[float, int], None]):
        self._total_steps, self._announce = total_steps, announce
        self._begin = 0.0

    def after(self, count: int, step: int, metrics: state_lib.Metrics) -> None:
        if count > STEPS_BEFORE_ESTIMATE:
            return
        jax.block_until_ready(metrics)
        if count == 1:
            self._begin = time.monotonic()  # the first step compiles, too
        elif count == STEPS_BEFORE_ESTIMATE:
            seconds = (time.monotonic() - self._begin) / (count - 1)
            self._announce(seconds, self._total_steps - step)


def _describe_stop(
    error: NonFiniteError,
    last_good: int | None,
    state: state_lib.TrainState,
    checkpoints: checkpoint.Checkpoints,
    name: str,
) -> str:
    before = (
        "no checkpoint before is kept"
        if last_good is None
        else f"the last checkpoint before is {checkpoints.path(last_good)}"
    )
    return (
        f"{error}. Training stopped; {before}, and the state before "
        f"the bad step is saved as {checkpoints.path(int(state.step))}. Lower {name}.learning_rate "
        f"or {name}.clip_norm, or use model.compute_dtype=float32, and run the same command again "
        f"with --config.{name}.accept_changes=True."
    )
