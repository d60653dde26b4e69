"""How much memory a refinement step takes, from the compiled program: nothing is run."""

import dataclasses
import functools
from typing import Any

import jax
import ml_collections
import numpy as np

from ssimbad_jax.diffusion import schedule, sigma_scale
from ssimbad_jax.stages import components, refine, training_run, weights
from ssimbad_jax.training import optimizer, sharding
from ssimbad_jax.training import state as state_lib


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes that XLA plans for one training step on one device.

    Attributes:
        temporary: working memory, at its peak.
        arguments: state and batch; the state is overwritten in place.
    """

    temporary: int
    arguments: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.temporary + self.arguments


def of_step(config: ml_collections.ConfigDict, batch_size: int, sampler_steps: int) -> StepMemory:
    """Compiles a refinement step for one device and returns its memory.

    Args:
        config: see `configs/edm_ssimbad.py`; the scale is that of `calibrate.c`.
        batch_size: pictures.
        sampler_steps: K, along a fresh grid.
    """
    config = config.copy_and_resolve_references()
    config.refine.update(batch_size=batch_size, sampler_steps=sampler_steps, grid_steps=0)
    noise_schedule = schedule.ssimbad(sigma_scale.rational(config.calibrate.c))
    mesh = sharding.data_mesh(jax.devices()[:1])
    everywhere = sharding.replicated(mesh)
    params = components.abstract_params(config, everywhere)
    job = refine.make_job(config, noise_schedule, weights.Weights("pretrain", 0, params))
    tx = optimizer.make_optimizer(components.optimizer_settings(config.refine, num_images=1))
    state = jax.eval_shape(functools.partial(state_lib.init_state, optimizer=tx), params)
    size = config.data.condition_size
    batch: dict[str, Any] = {
        "image": jax.ShapeDtypeStruct(
            (batch_size, size, size, 3), np.uint8, sharding=sharding.over_batch(mesh)
        )
    }
    step = training_run.compile_step(config, job, tx, mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    compiled = step.lower(components.with_sharding(state, everywhere), batch, key).compile()
    planned = compiled.memory_analysis()
    return StepMemory(planned.temp_size_in_bytes, planned.argument_size_in_bytes)


def state_bytes(config: ml_collections.ConfigDict, batch_size: int) -> int:
    """Returns the bytes of a batch of images, which each step of the solver keeps."""
    return batch_size * config.data.image_size**2 * 3 * np.dtype(np.float32).itemsize
