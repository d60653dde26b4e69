"""A training problem of a few numbers, for the tests of the training code."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssimbad_jax.training import optimizer
from ssimbad_jax.training import state as state_lib

BATCH_SIZE = 16
SETTINGS = optimizer.OptimizerSettings(
    learning_rate=0.05,
    final_learning_rate=0.0,
    warmup_steps=2,
    total_steps=20,
    weight_decay=0.01,
    clip_norm=1.0,
)


class Examples(NamedTuple):
    """Inputs `[B, 3]` with noise levels `[B]`."""

    x: jax.Array
    sigma: jax.Array


def draw(key, batch):
    """Adds noise of random size to the batch."""
    sigma_key, noise_key = jax.random.split(key)
    sigma = jnp.exp(jax.random.normal(sigma_key, batch["x"].shape[:1]))
    noise = jax.random.normal(noise_key, batch["x"].shape)
    return Examples(batch["x"] + 0.1 * sigma[:, None] * noise, sigma)


def loss_fn(params, examples):
    """Squared error of a linear map that should give the sum of the inputs."""
    return (examples.x @ params["w"] + params["b"] - examples.x.sum(axis=1)) ** 2


def new_state():
    """Returns the state before the first step."""
    params = {"w": jnp.array([0.3, -0.2, 0.1]), "b": jnp.zeros(())}
    return state_lib.init_state(params, optimizer.make_optimizer(SETTINGS))


def make_step(accumulate=1, half_life=1e9):
    """Returns the step, not jitted."""
    return state_lib.make_train_step(
        draw,
        loss_fn,
        optimizer.make_optimizer(SETTINGS),
        state_lib.Averaging(half_life, BATCH_SIZE),
        accumulate,
        sigma_of=lambda examples: examples.sigma,
    )


def batch_at(step):
    """Returns the batch of a step."""
    return {"x": jax.random.normal(jax.random.fold_in(jax.random.key(7), step), (BATCH_SIZE, 3))}
