"""Checkpoints: what is kept and what comes back."""

import jax
import numpy as np
import pytest

from ssimbad_jax.training import checkpoint
from tests import toy_problem


@pytest.fixture
def checkpoints(tmp_path):
    opened = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=2)
    yield opened
    opened.close()


def state_at(step):
    state = toy_problem.new_state()
    return state.replace(
        step=state.step + step, params=jax.tree.map(lambda p: p + step, state.params)
    )


def save(checkpoints, step, validation_loss):
    checkpoints.save(
        state_at(step), samples=10 * step, run_config={"n": step}, validation_loss=validation_loss
    )
    checkpoints.wait()


def test_round_trip(checkpoints):
    save(checkpoints, 3, 0.5)
    state, samples, config = checkpoints.restore(3, jax.eval_shape(toy_problem.new_state))
    jax.tree.map(np.testing.assert_array_equal, state, state_at(3))
    assert samples == 30
    assert config == {"n": 3}
    ema = checkpoints.restore_ema_params(3, jax.eval_shape(toy_problem.new_state).ema_params)
    jax.tree.map(np.testing.assert_array_equal, ema, state_at(3).ema_params)


def test_newest_and_best_are_kept(checkpoints):
    for step, loss in ((1, 0.5), (2, 0.1), (3, 0.4), (4, 0.3), (5, 0.2)):
        save(checkpoints, step, loss)
    kept = sorted(int(p.name) for p in checkpoints.directory.iterdir())
    assert kept == [2, 4, 5]
    assert checkpoints.latest_step() == 5
    assert checkpoints.best_step() == 2


def test_no_checkpoint(checkpoints):
    assert checkpoints.latest_step() is None
    assert checkpoints.best_step() is None
