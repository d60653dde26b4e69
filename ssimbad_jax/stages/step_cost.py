"""What a training step costs, from the compiled program: nothing is allocated or run."""

import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from ssimbad_jax.stages import components, refine, train, training_run, weights
from ssimbad_jax.training import optimizer, sharding
from ssimbad_jax.training import state as state_lib

_WARM_UP_STEPS = 2


@dataclasses.dataclass(frozen=True)
class StepCost:
    """What XLA plans for one training step on one device.

    Attributes:
        parameters: of the network.
        flops: floating-point operations.
        bytes_accessed: read and written by all operations, before caches.
        temporary: bytes of working memory, at its peak.
        arguments: bytes of state and batch; the state is overwritten in place.
    """

    parameters: int
    flops: float
    bytes_accessed: float
    temporary: int
    arguments: int

    @property
    def memory(self) -> int:
        """Bytes that the step needs on the device."""
        return self.temporary + self.arguments


def of_step(config: ml_collections.ConfigDict, name: str, batch_size: int) -> StepCost:
    """Compiles a step for one device and returns its cost.

    Args:
        config: see `configs/edm_ssimbad.py`.
        name: "train" or "refine".
        batch_size: pictures on the device.
    """
    config = config.copy_and_resolve_references()
    config[name].batch_size = batch_size
    lowered, parameters = _lowered_step(config, name)
    compiled = lowered.compile()
    memory, counted = compiled.memory_analysis(), compiled.cost_analysis()
    return StepCost(
        parameters=parameters,
        flops=counted["flops"],
        bytes_accessed=counted["bytes accessed"],
        temporary=memory.temp_size_in_bytes,
        arguments=memory.argument_size_in_bytes,
    )


def state_bytes(config: ml_collections.ConfigDict, batch_size: int) -> int:
    """Returns the bytes of a batch of images, which each step of a refined solver keeps."""
    return batch_size * config.data.image_size**2 * 3 * np.dtype(np.float32).itemsize


def seconds_of_steps(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, count: int
) -> list[float]:
    """Trains on random pictures and returns the seconds of each step, the first ones left out.

    Args:
        config: see `configs/edm_ssimbad.py`; the batch is that of `train`.
        mesh: the devices.
        count: steps to measure.
    """
    step, state, batch, key = ready_to_train(config, mesh)
    seconds = []
    for _ in range(_WARM_UP_STEPS + count):
        begin = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batch, key))
        seconds.append(time.perf_counter() - begin)
    return seconds[_WARM_UP_STEPS:]


def ready_to_train(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh
) -> tuple[Any, state_lib.TrainState, dict[str, jax.Array], jax.Array]:
    """Returns the jitted training step, a new state, a batch of random pictures and the key."""
    job, tx = _job(config, "train", mesh)
    everywhere = sharding.replicated(mesh)
    state = jax.jit(functools.partial(state_lib.init_state, optimizer=tx))(job.init_params())
    abstract = _abstract_batch(config, "train", mesh)
    pixels = np.random.default_rng(0).integers(0, 256, abstract["image"].shape, np.uint8)
    batch = jax.device_put({"image": pixels}, sharding.over_batch(mesh))
    key = jax.device_put(jax.random.key(0), everywhere)
    step = training_run.compile_step(config, job, tx, mesh)
    return step, state, batch, key


def _lowered_step(config: ml_collections.ConfigDict, name: str) -> tuple[Any, int]:
    """Returns the step for one device, traced, and the number of parameters."""
    mesh = sharding.data_mesh(jax.devices()[:1])
    everywhere = sharding.replicated(mesh)
    job, tx = _job(config, name, mesh)
    params = components.abstract_params(config, everywhere)
    state = jax.eval_shape(functools.partial(state_lib.init_state, optimizer=tx), params)
    key = jax.eval_shape(lambda: jax.random.key(0))
    step = training_run.compile_step(config, job, tx, mesh)
    batch = _abstract_batch(config, name, mesh)
    lowered = step.lower(components.with_sharding(state, everywhere), batch, key)
    return lowered, sum(leaf.size for leaf in jax.tree.leaves(params))


def _job(
    config: ml_collections.ConfigDict, name: str, mesh: jax.sharding.Mesh
) -> tuple[training_run.Job, optax.GradientTransformation]:
    config = config.copy_and_resolve_references()
    config.calibrate.scale = "rational"  # costs what any scale does, and needs no calibration
    noise_schedule = components.noise_schedule(config, pathlib.Path())
    tx = optimizer.make_optimizer(components.optimizer_settings(config[name], num_images=1))
    if name == "train":
        return train.make_job(config, noise_schedule, mesh), tx
    params = components.abstract_params(config, sharding.replicated(mesh))
    return refine.make_job(config, noise_schedule, weights.Weights("pretrain", 0, params, {})), tx


def _abstract_batch(
    config: ml_collections.ConfigDict, name: str, mesh: jax.sharding.Mesh
) -> dict[str, jax.ShapeDtypeStruct]:
    size = config.data.condition_size
    shape = (config[name].batch_size, size, size, 3)
    return {"image": jax.ShapeDtypeStruct(shape, np.uint8, sharding=sharding.over_batch(mesh))}
