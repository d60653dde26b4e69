"""The loop: logs, checkpoints, resume, bad steps."""

import itertools
import signal
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from ssimbad_jax.training import checkpoint, interruption, loop, metric_log, optimizer
from tests import toy_problem

SETTINGS = loop.LoopSettings(
    name="train",
    total_steps=12,
    batch_size=toy_problem.BATCH_SIZE,
    log_every=4,
    validate_every=3,
    sample_every=5,
    checkpoint_every=6,
)


class Run:
    """One call of the loop, as a program that may be started again would make it."""

    def __init__(self, workdir, batch_at=toy_problem.batch_at, total_steps=12, hooks_take=0.0):
        self.sampled, self.announced = [], []

        def validate(state):
            time.sleep(hooks_take)
            return float(jnp.abs(state.ema_params["w"] - 1).sum())

        def sample(state):
            time.sleep(hooks_take)
            self.sampled.append(int(state.step))

        checkpoints = checkpoint.Checkpoints(workdir / "checkpoints", keep=5)
        newest = checkpoints.latest_step()
        self.start, samples, state = newest or 0, 0, toy_problem.new_state()
        if newest:
            state, samples, _ = checkpoints.restore(newest, state)
        assert samples == self.start * SETTINGS.batch_size
        log = metric_log.MetricLog(workdir, self.start)
        batches = (batch_at(step) for step in itertools.count(self.start))
        settings = loop.LoopSettings(**{**vars(SETTINGS), "total_steps": total_steps})
        try:
            self.state = loop.train(
                jax.jit(toy_problem.make_step(), donate_argnums=0),
                state,
                batches,
                jax.random.key(0),
                samples=samples,
                settings=settings,
                run_config={"a": 1},
                hooks=loop.Hooks(
                    learning_rate=optimizer.learning_rate_schedule(toy_problem.SETTINGS),
                    validate=validate,
                    sample=sample,
                    announce=lambda *told: self.announced.append(told),
                ),
                checkpoints=checkpoints,
                log=log,
            )
            self.steps = sorted(int(p.name) for p in checkpoints.directory.iterdir())
        finally:
            log.close()
            checkpoints.close()


def test_logs_validates_samples_and_saves_on_time(tmp_path):
    run = Run(tmp_path)
    rows = metric_log.read(tmp_path / "metrics.jsonl")
    assert [r["step"] for r in rows if "loss" in r] == [4, 6, 8, 12]
    assert [r["step"] for r in rows if "validation_loss" in r] == [3, 6, 9, 12]
    assert run.sampled == [5, 10, 12]
    assert run.steps == [6, 12]
    ((seconds, left),) = run.announced
    assert 0 < seconds < 60 and left == 12 - loop.STEPS_BEFORE_ESTIMATE
    last = [r for r in rows if "loss" in r][-1]
    assert last["samples"] == 12 * SETTINGS.batch_size
    assert set(last) >= {
        "gradient_norm",
        "update_norm",
        "parameter_norm",
        "learning_rate",
        "images_per_second",
    }
    assert any(name.startswith("loss_sigma_") for name in last)


def test_samples_are_counted_on_after_a_change_of_batch_size(tmp_path):
    log = metric_log.MetricLog(tmp_path)
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    state = toy_problem.new_state()
    loop.train(
        jax.jit(toy_problem.make_step()),
        state.replace(step=state.step + 10),
        map(toy_problem.batch_at, itertools.count()),
        jax.random.key(0),
        samples=10 * 2 * SETTINGS.batch_size,
        settings=SETTINGS,
        run_config={},
        hooks=loop.Hooks(lambda step: 0.1, lambda state: 0.5, lambda state: None, lambda _: None),
        checkpoints=checkpoints,
        log=log,
    )
    log.close()
    rows = metric_log.read(tmp_path / "metrics.jsonl")
    logged = {row["step"]: row["samples"] for row in rows if "samples" in row}
    restored = checkpoints.restore(12, state)
    checkpoints.close()
    assert logged == {12: restored.samples} == {12: 22 * SETTINGS.batch_size}


def test_interrupted_equals_uninterrupted(tmp_path):
    whole = Run(tmp_path / "whole")

    def interrupted(step):
        if step == 9:
            raise KeyboardInterrupt
        return toy_problem.batch_at(step)

    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "parts", interrupted)
    rest = Run(tmp_path / "parts")
    assert rest.start == 6
    jax.tree.map(np.testing.assert_array_equal, rest.state, whole.state)
    timeless = [
        [{k: v for k, v in row.items() if k != "images_per_second"} for row in rows]
        for rows in (
            metric_log.read(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")
        )
    ]
    assert timeless[0] == timeless[1]


def test_a_signal_stops_after_the_step_with_a_checkpoint(tmp_path):
    whole = Run(tmp_path / "whole")

    def interrupted(step):
        if step == 9:  # while the tenth step is made ready
            signal.raise_signal(signal.SIGTERM)
        return toy_problem.batch_at(step)

    with pytest.raises(interruption.Interrupted, match=r"step 10 of 12, saved as .*checkpoints/10"):
        with interruption.handled():
            Run(tmp_path / "parts", interrupted)
    rest = Run(tmp_path / "parts")
    assert rest.start == 10
    assert rest.steps == [6, 10, 12]
    jax.tree.map(np.testing.assert_array_equal, rest.state, whole.state)
    rows = metric_log.read(tmp_path / "parts" / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [4, 6, 8, 10, 12]
    # Whoever sends a signal does not wait for a validation.
    assert [row["step"] for row in rows if "validation_loss" in row] == [3, 6, 9, 12]


def test_a_signal_during_the_last_step_lets_the_training_end(tmp_path):
    def interrupted(step):
        if step == 11:
            signal.raise_signal(signal.SIGTERM)
        return toy_problem.batch_at(step)

    with pytest.raises(interruption.Interrupted), interruption.handled():
        Run(tmp_path, interrupted)
    assert Run(tmp_path).start == 12


def test_a_save_that_failed_is_told_before_the_next_one_is_due(tmp_path, monkeypatch):
    """Orbax writes in the background; its error must not wait for the next checkpoint."""
    steps = []

    def slow(step):
        steps.append(step)
        if step == 8:
            time.sleep(1.0)
        return toy_problem.batch_at(step)

    async def fails(self, x, directory):
        raise OSError(28, "No space left on device", str(directory))

    monkeypatch.setattr(ocp.JsonCheckpointHandler, "_save_fn", fails)
    with pytest.raises(checkpoint.SaveError, match=r"No space left.*MB free.*same command"):
        Run(tmp_path, slow)
    assert max(steps) < 11


def test_validation_and_pictures_do_not_count_as_slow_training(tmp_path):
    seconds = 0.5
    Run(tmp_path, hooks_take=seconds)
    rows = [row for row in metric_log.read(tmp_path / "metrics.jsonl") if "loss" in row]
    most_steps = 4  # of a row; a hook is called within each row's steps
    # Not in the first row, whose steps are compiled.
    for row in rows[1:]:
        assert row["images_per_second"] > most_steps * SETTINGS.batch_size / seconds


def test_a_bad_step_stops_the_run_and_keeps_the_state_before(tmp_path):
    def bad_at_8(step):
        batch = toy_problem.batch_at(step)
        return {"x": batch["x"] * jnp.inf} if step == 8 else batch

    with pytest.raises(
        loop.NonFiniteError, match=r"step 9 the loss is nan.*checkpoints/6"
    ) as error:
        Run(tmp_path, bad_at_8)
    assert "checkpoints/8" in str(error.value)
    before = Run(tmp_path / "other", total_steps=8)
    continued = Run(tmp_path, total_steps=8)  # nothing to do: step 8 was saved
    assert continued.start == 8
    jax.tree.map(np.testing.assert_array_equal, continued.state, before.state)


def test_a_gradient_that_overflows_stops_the_run_though_the_loss_is_finite(tmp_path):
    def large_at_8(step):
        batch = toy_problem.batch_at(step)
        return {"x": batch["x"] * 1e15} if step == 8 else batch

    with pytest.raises(
        loop.NonFiniteError, match=r"step 9 the gradient_norm is inf.*checkpoints/6.*checkpoints/8"
    ):
        Run(tmp_path, large_at_8)


def test_a_bad_step_right_after_a_checkpoint_is_told_again_and_again(tmp_path):
    def bad_at_6(step):
        batch = toy_problem.batch_at(step)
        return {"x": batch["x"] * jnp.inf} if step == 6 else batch

    for _ in range(2):
        with pytest.raises(loop.NonFiniteError, match=r"step 7 the loss is nan.*checkpoints/6"):
            Run(tmp_path, bad_at_6)
