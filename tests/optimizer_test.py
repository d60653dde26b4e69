"""Learning rate and optimiser."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.training import optimizer

SETTINGS = optimizer.OptimizerSettings(
    learning_rate=2e-4,
    final_learning_rate=1e-8,
    warmup_steps=10,
    total_steps=100,
    weight_decay=0.01,
    clip_norm=1.0,
)


def test_learning_rate_warms_up_and_falls_to_the_end():
    rate = optimizer.learning_rate_schedule(SETTINGS)
    values = np.array([rate(step) for step in range(101)])
    assert values[0] == 0
    assert values[10] == pytest.approx(2e-4)
    assert values[55] == pytest.approx((2e-4 + 1e-8) / 2, rel=1e-3)
    assert values[100] == pytest.approx(1e-8, rel=1e-3)
    assert values[99] > 2e-8  # the last step is the hundredth, from 0
    assert np.all(np.diff(values[:11]) > 0)
    assert np.all(np.diff(values[10:]) < 0)


def test_large_gradients_are_clipped_before_adam():
    """A gradient clipped to norm 1 gives the same first update as one of norm 1."""
    tx = optimizer.make_optimizer(SETTINGS)
    params = {"w": jnp.zeros(4)}
    state = tx.init(params)
    direction = jnp.array([1.0, -1.0, 1.0, -1.0]) / 2
    moments = []
    for scale in (1.0, 100.0):
        _, after = tx.update({"w": scale * direction}, state, params)
        moments.append(optax.tree.get(after, "mu")["w"])
    np.testing.assert_allclose(moments[0], moments[1], rtol=1e-5)


def test_weight_decay_is_decoupled():
    """Without a gradient a parameter still shrinks by learning rate times decay."""
    tx = optimizer.make_optimizer(SETTINGS)
    params = {"w": jnp.ones(3)}
    state = tx.init(params)
    for _ in range(2):  # the first step has learning rate 0
        updates, state = tx.update({"w": jnp.zeros(3)}, state, params)
    np.testing.assert_allclose(updates["w"], -2e-5 * 0.01, rtol=1e-4)


def test_without_warm_up_the_first_step_has_the_peak(caplog):
    rate = optimizer.learning_rate_schedule(dataclasses.replace(SETTINGS, warmup_steps=0))
    values = np.array([rate(step) for step in range(101)])
    assert values[0] == pytest.approx(2e-4) and values[100] == pytest.approx(1e-8, rel=1e-3)
    assert np.all(np.diff(values) < 0)
    assert caplog.records == []  # optax would warn of a schedule of no steps
