"""Checkpoints: what is kept and what comes back."""

import json

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from ssimbad_jax.training import checkpoint, digest
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


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_is_never_the_best(checkpoints, loss):
    for step, of_step in ((1, 0.5), (2, 0.1), (3, loss), (4, 0.3), (5, 0.2)):
        save(checkpoints, step, of_step)
        assert checkpoints.best_step() == min(step, 2)
    assert checkpoints.steps_by_loss() == [2, 5, 4]
    save(checkpoints, 6, loss)
    assert checkpoints.steps() == [6, 5, 2]
    checkpoints.restore(6, jax.eval_shape(toy_problem.new_state))


def write_loss(folder, loss):
    """Gives a checkpoint that loss, as if it had been saved with it."""
    metrics = {checkpoint.VALIDATION_LOSS: loss}
    (folder / "metrics" / "metrics").write_text(json.dumps(metrics))
    digests = folder / "digests" / "metadata"
    record = json.loads(digests.read_text())
    record["metrics"] = digest.of_items({}, {"metrics": metrics})["metrics"]
    del record[digest._OWN]
    digests.write_text(json.dumps({**record, digest._OWN: digest._of_json(record)}))


@pytest.mark.parametrize("loss", [float("nan"), float("-inf")])
def test_a_folder_that_holds_a_loss_that_is_not_finite_keeps_the_true_best(checkpoints, loss):
    for step, of_step in ((1, 0.1), (2, 0.3), (3, 0.4)):
        save(checkpoints, step, of_step)
    write_loss(checkpoints.path(3), loss)
    opened = checkpoint.Checkpoints(checkpoints.directory, keep=2)
    assert opened.best_step() == 1
    assert opened.steps_by_loss() == [1, 2, 3]
    opened.restore(3, jax.eval_shape(toy_problem.new_state))  # it is not damaged
    save(opened, 4, 0.5)
    assert opened.steps() == [4, 3, 1]
    opened.close()


def test_every_host_knows_where_a_checkpoint_was_set_aside(checkpoints, monkeypatch):
    """This is the second of two hosts; the first moves the folder when they meet for it."""
    save(checkpoints, 3, 0.5)
    place = checkpoints.directory.with_name("checkpoints_damaged") / "3"

    def meet(what):
        if what == "set 3 aside":
            place.parent.mkdir()
            checkpoints.path(3).rename(place)

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    monkeypatch.setattr(multihost_utils, "sync_global_devices", meet)
    assert checkpoints.set_aside(3) == place
    monkeypatch.undo()
    assert checkpoints.steps() == []


def test_no_checkpoint(checkpoints):
    assert checkpoints.latest_step() is None
    assert checkpoints.best_step() is None
