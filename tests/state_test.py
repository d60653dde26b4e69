"""The training step: accumulation, averaging, bad steps, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssimbad_jax.training import sharding
from ssimbad_jax.training import state as state_lib
from tests import toy_problem

KEY = jax.random.key(0)


def run(step, steps=5, put=lambda x: x):
    state = put(toy_problem.new_state())
    metrics = None
    for number in range(steps):
        state, metrics = step(state, toy_problem.batch_at(number), KEY)
    return state, metrics


def assert_trees_close(a, b, **tolerance):
    jax.tree.map(functools.partial(np.testing.assert_allclose, **tolerance), a, b)


def test_loss_falls():
    step = jax.jit(toy_problem.make_step())
    _, first = run(step, 1)
    _, last = run(step, 20)
    assert last["loss"] < 0.5 * first["loss"]


def test_each_step_draws_with_the_key_folded_with_its_number():
    def draw(key, batch):
        return jax.random.normal(key, batch["x"].shape[:1])

    step = jax.jit(
        state_lib.make_train_step(
            draw,
            lambda params, examples: examples + params["b"],
            optax.sgd(0.0),
            state_lib.Averaging(1e9, toy_problem.BATCH_SIZE),
        )
    )
    state = state_lib.init_state(toy_problem.new_state().params, optax.sgd(0.0))
    for number in range(3):
        batch = toy_problem.batch_at(number)
        state, metrics = step(state, batch, KEY)
        expected = draw(jax.random.fold_in(KEY, number), batch).mean()
        assert metrics["loss"] == pytest.approx(float(expected))


@pytest.mark.parametrize("accumulate", [2, 8])
def test_accumulated_gradients_equal_the_whole_batch(accumulate):
    whole = run(jax.jit(toy_problem.make_step()))
    parts = run(jax.jit(toy_problem.make_step(accumulate)))
    assert_trees_close(whole[0].params, parts[0].params, rtol=1e-5, atol=1e-6)
    assert_trees_close(whole[1], parts[1], rtol=1e-4, atol=1e-5)


def test_one_device_equals_eight():
    step = toy_problem.make_step()
    states = []
    for count in (1, 8):
        mesh = sharding.data_mesh(jax.devices()[:count])
        everywhere = sharding.replicated(mesh)
        jitted = jax.jit(
            step,
            in_shardings=(everywhere, sharding.over_batch(mesh), everywhere),
            out_shardings=everywhere,
        )
        state, _ = run(jitted)
        states.append(jax.tree.map(np.asarray, (state.params, state.ema_params)))
    assert_trees_close(*states, rtol=1e-5, atol=1e-6)


# The loss is not a number, or only the gradient's norm is infinite.
@pytest.mark.parametrize("value,is_loss_finite", [(jnp.nan, False), (1e15, True)])
def test_a_bad_step_leaves_the_state_and_stops_its_advance(value, is_loss_finite):
    step = jax.jit(toy_problem.make_step(), donate_argnums=0)
    state, _ = run(jax.jit(toy_problem.make_step()), 3)
    before = jax.tree.map(np.asarray, state)
    bad = {"x": toy_problem.batch_at(3)["x"].at[0, 0].set(value)}
    state, metrics = step(state, bad, KEY)
    assert not metrics["is_finite"]
    assert jnp.isfinite(metrics["loss"]) == is_loss_finite
    state, metrics = step(state, toy_problem.batch_at(4), KEY)
    assert metrics["is_finite"]
    assert not state.is_healthy
    jax.tree.map(np.testing.assert_array_equal, state.replace(is_healthy=before.is_healthy), before)


def test_average_forgets_the_start_within_the_share():
    """After n steps the weight of the start is below 1%, however long the configured half-life."""
    averaging = state_lib.Averaging(half_life=1e12, batch_size=4)
    steps = jnp.arange(1, 101)
    decays = jax.vmap(averaging.decay)(steps)
    assert np.prod(decays) < 1e-2
    # A half-life of 5% of the pictures seen, of which a step is 4.
    np.testing.assert_allclose(decays, 0.5 ** (1 / (0.05 * np.arange(1, 101))), rtol=1e-5)
    long = state_lib.Averaging(half_life=100.0, batch_size=4).decay(jnp.asarray(10**6))
    assert long == pytest.approx(0.5 ** (4 / 100))


def test_the_average_and_the_norms_are_those_of_their_definitions():
    """Step by step in float64."""
    step = jax.jit(toy_problem.make_step())
    state = toy_problem.new_state()
    average = jax.tree.map(np.float64, state.params)
    for number in range(6):
        before = jax.tree.map(np.float64, state.params)
        state, metrics = step(state, toy_problem.batch_at(number), KEY)
        after = jax.tree.map(np.float64, state.params)
        kept = 0.5 ** (1 / (0.05 * (number + 1)))
        average = jax.tree.map(
            lambda a, new, kept=kept: kept * a + (1 - kept) * new, average, after
        )
        change = jax.tree.map(lambda new, old: new - old, after, before)
        for name, tree in (("parameter_norm", after), ("update_norm", change)):
            norm = np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tree)))
            assert metrics[name] == pytest.approx(norm, rel=1e-4, abs=1e-7)
    assert_trees_close(state.ema_params, average, rtol=1e-5)


def test_average_of_constant_parameters_is_constant():
    state, _ = run(jax.jit(toy_problem.make_step()), 1)  # learning rate 0 at step 0
    jax.tree.map(np.testing.assert_array_equal, state.ema_params, state.params)


def test_loss_by_sigma_range_adds_up():
    _, metrics = run(jax.jit(toy_problem.make_step()), 1)
    assert metrics["sigma_range_count"].sum() == toy_problem.BATCH_SIZE
    total = metrics["sigma_range_loss"].sum() / toy_problem.BATCH_SIZE
    assert total == pytest.approx(float(metrics["loss"]), rel=1e-5)
