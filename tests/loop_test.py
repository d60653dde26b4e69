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


def signalled_at(number):
    """Batches, with a signal while that of the step after `number` is made ready."""

    def batch_at(step):
        if step == number:
            signal.raise_signal(signal.SIGTERM)
        return toy_problem.batch_at(step)

    return batch_at


def bad_at(number, factor):
    """Batches, of which that of the step after `number` is multiplied by a factor."""

    def batch_at(step):
        batch = toy_problem.batch_at(step)
        return {"x": batch["x"] * factor} if step == number else batch

    return batch_at


class Run:
    """One call of the loop, as a program that may be started again would make it."""

    def __init__(
        self,
        workdir,
        batch_at=toy_problem.batch_at,
        total_steps=12,
        hooks_take=0.0,
        keep=5,
        drawn_before=(),
        **intervals,
    ):
        self.sampled, self.announced, self.hooks_take = [], [], hooks_take

        def validate(state):
            time.sleep(hooks_take)
            return float(jnp.abs(state.ema_params["w"] - 1).sum())

        checkpoints = checkpoint.Checkpoints(workdir / "checkpoints", keep=keep)
        newest = checkpoints.latest_step()
        self.start, samples, state = newest or 0, 0, toy_problem.new_state()
        if newest:
            state, samples, _ = checkpoints.restore(newest, state)
        assert samples == self.start * SETTINGS.batch_size
        log = metric_log.MetricLog(workdir, self.start)
        batches = (batch_at(step) for step in itertools.count(self.start))
        settings = loop.LoopSettings(**{**vars(SETTINGS), "total_steps": total_steps, **intervals})
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
                    sample=self.sample,
                    lacks_pictures=lambda step: step not in drawn_before,
                    announce=lambda *told: self.announced.append(told),
                ),
                checkpoints=checkpoints,
                log=log,
            )
            self.steps = sorted(int(p.name) for p in checkpoints.directory.iterdir())
        finally:
            log.close()
            checkpoints.close()

    def sample(self, state):
        time.sleep(self.hooks_take)
        self.sampled.append(int(state.step))


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
    assert set(last) >= {"gradient_norm", "update_norm", "parameter_norm", "images_per_second"}
    # That of the last step, which is counted from 0.
    schedule = optimizer.learning_rate_schedule(toy_problem.SETTINGS)
    assert last["learning_rate"] == pytest.approx(float(schedule(11)))
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
        hooks=loop.Hooks(
            learning_rate=lambda step: 0.1,
            validate=lambda state: 0.5,
            sample=lambda state: None,
            lacks_pictures=lambda step: False,
            announce=lambda *_: None,
        ),
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

    with pytest.raises(interruption.Interrupted, match=r"step 10 of 12, saved as .*checkpoints/10"):
        with interruption.handled():
            Run(tmp_path / "parts", signalled_at(9))
    rest = Run(tmp_path / "parts")
    assert rest.start == 10
    assert rest.steps == [6, 10, 12]
    jax.tree.map(np.testing.assert_array_equal, rest.state, whole.state)
    rows = metric_log.read(tmp_path / "parts" / "metrics.jsonl")
    assert [row["step"] for row in rows if "loss" in row] == [4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "validation_loss" in row] == [3, 6, 9, 12]


@pytest.mark.parametrize("step", [9, 10])
def test_whoever_sends_a_signal_waits_for_nothing_that_the_next_start_can_do(
    tmp_path, monkeypatch, step
):
    """A validation is due after step 9, pictures are after step 10."""

    drawn = []
    sample = Run.sample
    monkeypatch.setattr(Run, "sample", lambda run, state: (drawn.append(1), sample(run, state)))
    with pytest.raises(interruption.Interrupted), interruption.handled():
        Run(tmp_path, signalled_at(step - 1))
    log = tmp_path / "metrics.jsonl"
    validated = [row["step"] for row in metric_log.read(log) if "validation_loss" in row]
    assert (validated, len(drawn)) == ([3, 6, 9][: step - 7], 1)
    rest = Run(tmp_path)
    assert rest.sampled == [10, 12]
    validated = [row["step"] for row in metric_log.read(log) if "validation_loss" in row]
    assert validated == [3, 6, 9, 12]


def test_pictures_that_are_there_are_not_drawn_again(tmp_path):
    with pytest.raises(interruption.Interrupted), interruption.handled():
        Run(tmp_path, signalled_at(10), sample_every=11)
    assert Run(tmp_path, drawn_before=[11], sample_every=11).sampled == [12]


def test_a_run_that_is_killed_while_it_draws_draws_again(tmp_path, monkeypatch):
    def killed(run, state):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Run, "sample", killed)
        Run(tmp_path, sample_every=6)
    rest = Run(tmp_path, sample_every=6)
    assert (rest.start, rest.sampled) == (0, [6, 12])


def test_a_signal_during_the_last_step_lets_the_training_end(tmp_path):
    with pytest.raises(interruption.Interrupted), interruption.handled():
        Run(tmp_path, signalled_at(11))
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
    for row in rows[1:]:  # the first has a step less
        assert row["images_per_second"] > most_steps * SETTINGS.batch_size / seconds


def test_compilation_does_not_count_as_slow_training(tmp_path, monkeypatch):
    seconds, make_step = 0.5, toy_problem.make_step

    def compiles_slowly():
        step = make_step()

        def traced(*args):
            time.sleep(seconds)
            return step(*args)

        return traced

    monkeypatch.setattr(toy_problem, "make_step", compiles_slowly)
    Run(tmp_path, log_every=1)
    rows = [row for row in metric_log.read(tmp_path / "metrics.jsonl") if "loss" in row]
    rates = {row["step"]: row.get("images_per_second") for row in rows}
    assert rates[1] is None  # one step alone says nothing
    assert rates[2] > SETTINGS.batch_size / seconds


def test_a_bad_step_does_not_name_a_checkpoint_that_is_gone(tmp_path):
    with pytest.raises(loop.NonFiniteError, match=r"no checkpoint before is kept.*checkpoints/8"):
        Run(tmp_path, bad_at(8, jnp.inf), keep=1)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["8"]


def test_a_bad_step_stops_the_run_and_keeps_the_state_before(tmp_path):
    with pytest.raises(
        loop.NonFiniteError, match=r"step 9 the loss is nan.*checkpoints/6"
    ) as error:
        Run(tmp_path, bad_at(8, jnp.inf))
    assert "checkpoints/8" in str(error.value)
    before = Run(tmp_path / "other", total_steps=8)
    continued = Run(tmp_path, total_steps=8)  # nothing to do: step 8 was saved
    assert continued.start == 8
    jax.tree.map(np.testing.assert_array_equal, continued.state, before.state)


def test_a_gradient_that_overflows_stops_the_run_though_the_loss_is_finite(tmp_path):
    with pytest.raises(
        loop.NonFiniteError, match=r"step 9 the gradient_norm is inf.*checkpoints/6.*checkpoints/8"
    ):
        Run(tmp_path, bad_at(8, 1e15))


def test_a_bad_step_right_after_a_checkpoint_is_told_again_and_again(tmp_path):
    for _ in range(2):
        with pytest.raises(loop.NonFiniteError, match=r"step 7 the loss is nan.*checkpoints/6"):
            Run(tmp_path, bad_at(6, jnp.inf))
