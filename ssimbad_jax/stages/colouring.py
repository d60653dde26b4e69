"""Colouring all pictures of a setting with a run's network, by each of its methods."""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.data import conditions, pairs
from ssimbad_jax.diffusion import samplers
from ssimbad_jax.stages import components, solvers
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import sharding

# Independent streams of the key of a seed, apart from those of training.


class Method(NamedTuple):
    """A way to colour.

    Attributes:
        name: for the tables.
        network_calls: calls of the network for each picture.
        colour: (params, noise, condition, keys `[B]`) -> pictures `[B, H, W, 3]`. The truth is no
            input.
    """

    name: str
    network_calls: int
    colour: Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]


ColourBatch = Callable[..., jax.Array]


def methods(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[Method]:
    """Returns the sampler of `eval`, and the posterior mean, which is never guided.

    A network with a single noise level has no other answer than its sampler's.
    """
    noise_schedule = components.noise_schedule(config, workdir)
    draws = config.eval.posterior_draws
    sampler = Method(
        solvers.name(config),
        solvers.network_calls(config, noise_schedule),
        solvers.sample(config, noise_schedule),
    )
    if config.diffusion.schedule == "single":
        return [sampler]
    mean = Method(
        "posterior mean" + (f" of {draws}" if draws > 1 else ""),
        draws,
        solvers.posterior_mean(config, noise_schedule),
    )
    return [sampler, mean]


def compile_method(
    method: Method,
    params: Any,
    test_pairs: pairs.Pairs,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
) -> ColourBatch:
    """Returns (key, numbers, sketches, references) of a batch -> coloured pictures, compiled."""
    return functools.partial(compile_for_any(method, params, test_pairs, config, mesh), params)


def compile_for_any(
    method: Method,
    params: Any,
    test_pairs: pairs.Pairs,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
) -> ColourBatch:
    """Returns what `compile_method` does for any params of these shapes, its first argument."""
    by_batch, everywhere = sharding.over_batch(mesh), sharding.replicated(mesh)

    def colour(params: Any, key: jax.Array, numbers: jax.Array, *batch: jax.Array) -> jax.Array:
        return conditions.to_uint8(
            method.colour(params, *_noise_condition_and_keys(key, numbers, *batch))
        )

    jitted = jax.jit(
        colour, in_shardings=(everywhere, everywhere, *[by_batch] * 3), out_shardings=by_batch
    )
    shown = inputs(test_pairs, pairs.SETTINGS[0])
    first = [_batch(array, 0, config.eval.batch_size) for array in shown]
    example = jax.device_put(first, by_batch)
    return jitted.lower(params, jax.random.key(config.seed), *example).compile()


def _noise_condition_and_keys(
    key: jax.Array, numbers: jax.Array, sketch: jax.Array, reference: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the noise, condition and keys of a batch."""
    # They belong to the picture's number: the same in every batch size and setting.
    noise_keys, sampler_keys = (
        jax.vmap(functools.partial(streams.fold_in, streams.fold_in(key, stream)))(numbers)
        for stream in (Stream.NOISE, Stream.SAMPLER)
    )
    noise = jax.vmap(lambda key: jax.random.normal(key, reference.shape[1:]))(noise_keys)
    condition = jnp.concatenate(
        [conditions.from_uint8(sketch)[..., None], conditions.from_uint8(reference)], axis=-1
    )
    return noise, condition, sampler_keys


def trajectory(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    params: Any,
    shown: Sequence[np.ndarray],
    mesh: jax.sharding.Mesh,
) -> samplers.Passed:
    """Returns what the sampler passes, with the noise of the run's own seed.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of the run.
        params: of the network.
        shown: what `inputs` returns, cut to a few pictures.
        mesh: the devices.
    """
    walk = solvers.trajectory(config, components.noise_schedule(config, workdir))
    by_batch, everywhere = sharding.over_batch(mesh), sharding.replicated(mesh)

    def call(params: Any, key: jax.Array, numbers: jax.Array, *batch: jax.Array) -> Any:
        return walk(params, *_noise_condition_and_keys(key, numbers, *batch))

    count = len(shown[0])
    padded = [_batch(array, 0, -(-count // mesh.size) * mesh.size) for array in shown]
    batch = jax.device_put(padded, by_batch)
    jitted = jax.jit(
        call, in_shardings=(everywhere, everywhere, *[by_batch] * 3), out_shardings=everywhere
    )
    passed = jax.tree.map(np.asarray, jitted(params, jax.random.key(config.seed), *batch))
    return passed._replace(state=passed.state[:, :count], denoised=passed.denoised[:, :count])


def colour_all(
    colour: ColourBatch,
    key: jax.Array,
    shown: Sequence[np.ndarray],
    batch_size: int,
    mesh: jax.sharding.Mesh,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, float]:
    """Returns all pictures and the seconds for one; the padding of the last batch is cut off.

    Args:
        colour: what `compile_method` returns.
        key: of the noise.
        shown: what `inputs` returns.
        batch_size: that of the compilation.
        mesh: the devices.
        advance: told the number of pictures finished, after each batch.
    """
    count = len(shown[0])
    parts = []
    begin = time.monotonic()
    for start in range(0, count, batch_size):
        batch = [_batch(array, start, batch_size) for array in shown]
        on_devices = jax.device_put(batch, sharding.over_batch(mesh))
        parts.append(sharding.fetch(colour(key, *on_devices)))
        advance(min(batch_size, count - start))
    seconds = (time.monotonic() - begin) / count
    return np.concatenate(parts)[:count], seconds


def inputs(test_pairs: pairs.Pairs, setting: str) -> tuple[np.ndarray, ...]:
    """Returns all that colouring may see: numbers, sketches and references."""
    numbers = np.arange(len(test_pairs.gt), dtype=np.int32)
    return numbers, test_pairs.sketch, test_pairs.reference(setting)


def _batch(array: np.ndarray, start: int, batch_size: int) -> np.ndarray:
    """Returns a slice of fixed length; behind the end the last entry is repeated."""
    return array[np.minimum(np.arange(start, start + batch_size), len(array) - 1)]
