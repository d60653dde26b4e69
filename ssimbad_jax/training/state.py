"""The training state and the pure step that advances it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import flax.struct
import jax
import jax.numpy as jnp
import optax

from ssimbad_jax import streams

Params = Any
Examples = Any  # a pytree of arrays [B, ...]: everything random about a batch is already drawn
Metrics = dict[str, jax.Array]

# Upper ends of the ranges of sigma for which the loss is logged apart.
SIGMA_RANGES = (0.05, 0.2, 0.8, 5.0, float("inf"))


class LossFn(Protocol):
    """Loss of each example; for pretraining, refinement or whatever comes next."""

    def __call__(self, params: Params, examples: Examples) -> jax.Array:
        """Returns the loss `[B]`."""


class DrawFn(Protocol):
    """Turns a batch of data into examples: conditions, noise levels and noise."""

    def __call__(self, key: jax.Array, batch: Any) -> Examples:
        """Returns a pytree of arrays `[B, ...]`."""


class TrainState(flax.struct.PyTreeNode):
    """Everything a training run carries from step to step.

    Attributes:
        step: number of steps taken, int32 [].
        params: parameters, float32.
        ema_params: exponential moving average of the parameters, for sampling and scoring.
        opt_state: the optimiser's state.
        is_healthy: False from the first step on whose loss or gradient was not finite; the rest
            of the state then stays as it was before that step. bool [].
    """

    step: jax.Array
    params: Params
    ema_params: Params
    opt_state: optax.OptState
    is_healthy: jax.Array


@dataclasses.dataclass(frozen=True)
class Averaging:
    """Exponential moving average of the parameters.

    Attributes:
        half_life: pictures after which a parameter's weight has halved.
        max_share: the half-life is never more than this share of the pictures seen so far, so
            that the average of a short run has forgotten its random start.
        batch_size: pictures a step. Those seen so far are counted as if every step had had so
            many, also where a run goes on with another batch size than it began with.
    """

    half_life: float
    batch_size: int
    max_share: float = 0.05

    def decay(self, step: jax.Array) -> jax.Array:
        """Returns the weight of the old average at `step` (steps taken, this one included)."""
        seen = step.astype(jnp.float32) * self.batch_size
        half_life = jnp.minimum(self.half_life, self.max_share * seen)
        return 0.5 ** (self.batch_size / half_life)


def init_state(params: Params, optimizer: optax.GradientTransformation) -> TrainState:
    """Returns the state before the first step."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        # A copy: the two are donated separately.
        ema_params=jax.tree.map(jnp.copy, params),
        opt_state=optimizer.init(params),
        is_healthy=jnp.ones((), bool),
    )


def make_train_step(
    draw: DrawFn,
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    averaging: Averaging,
    accumulate: int = 1,
    sigma_of: Callable[[Examples], jax.Array] | None = None,
) -> Callable[[TrainState, Any, jax.Array], tuple[TrainState, Metrics]]:
    """Returns the pure function (state, batch, key) -> (state, metrics), to be jitted.

    Args:
        draw: makes examples of a batch, with the key of the step, `fold_in(key, step)`.
        loss_fn: loss of each example.
        optimizer: see `training.optimizer`.
        averaging: see `Averaging`.
        accumulate: micro-batches the examples are split into; the gradient is their mean, equal
            to that of the whole batch.
        sigma_of: examples -> their noise levels `[B]`; the metrics then hold the loss by ranges
            of them.

    Returns:
        The step. A loss or gradient that is not finite leaves the state as it was, from then on
        (its buffers are donated, so the choice is made inside), and the metric `is_finite` says so.
    """

    def step(state: TrainState, batch: Any, key: jax.Array) -> tuple[TrainState, Metrics]:
        examples = draw(streams.fold_in(key, state.step), batch)
        losses, gradient = _accumulated_gradient(loss_fn, state.params, examples, accumulate)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = averaging.decay(state.step + 1)
        ema_params = jax.tree.map(
            lambda ema, new: decay * ema + (1 - decay) * new, state.ema_params, params
        )
        loss, gradient_norm = losses.mean(), optax.tree.norm(gradient)
        is_finite = jnp.isfinite(loss) & jnp.isfinite(gradient_norm)
        is_healthy = state.is_healthy & is_finite
        advanced = TrainState(state.step + 1, params, ema_params, opt_state, is_healthy)
        state = jax.tree.map(lambda new, old: jnp.where(is_healthy, new, old), advanced, state)
        state = state.replace(is_healthy=is_healthy)
        metrics = {
            "loss": loss,
            "gradient_norm": gradient_norm,
            "update_norm": optax.tree.norm(updates),
            "parameter_norm": optax.tree.norm(params),
            "is_finite": is_finite,
        }
        if sigma_of is not None:
            metrics |= _loss_by_sigma_range(losses, sigma_of(examples))
        return state, metrics

    return step


def _accumulated_gradient(
    loss_fn: LossFn, params: Params, examples: Examples, accumulate: int
) -> tuple[jax.Array, Params]:
    """Returns the loss of each example and the gradient of their mean."""

    def mean_loss(params: Params, examples: Examples) -> tuple[jax.Array, jax.Array]:
        losses = loss_fn(params, examples)
        return losses.mean(), losses

    gradient_of_mean = jax.grad(mean_loss, has_aux=True)
    if accumulate == 1:
        gradient, losses = gradient_of_mean(params, examples)
        return losses, gradient

    # Micro-batch i takes every accumulate-th example, so that all devices share in each.
    micro_batches = jax.tree.map(
        lambda x: x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1), examples
    )

    def add(total: Params, micro_batch: Examples) -> tuple[Params, jax.Array]:
        gradient, losses = gradient_of_mean(params, micro_batch)
        return jax.tree.map(jnp.add, total, gradient), losses

    total, losses = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), micro_batches)
    gradient = jax.tree.map(lambda g: g / accumulate, total)
    return losses.swapaxes(0, 1).reshape(-1), gradient


def _loss_by_sigma_range(losses: jax.Array, sigma: jax.Array) -> Metrics:
    """Sums and counts by range; the log divides them after adding up several steps."""
    index = jnp.searchsorted(jnp.asarray(SIGMA_RANGES), sigma)
    member = jax.nn.one_hot(index, len(SIGMA_RANGES))
    return {
        "sigma_range_loss": (losses[:, None] * member).sum(axis=0),
        "sigma_range_count": member.sum(axis=0),
    }
