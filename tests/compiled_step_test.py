"""What XLA made of the training step: communication, memory, compilation, and `jax.pmap`'s view."""

import collections
import functools
import re

import jax
import numpy as np
import optax
import pytest

from ssimbad_jax.data import pipeline
from ssimbad_jax.stages import components, train, training_run
from ssimbad_jax.training import optimizer, sharding
from ssimbad_jax.training import state as state_lib
from tests import tiny_run

_COMMUNICATION = re.compile(
    r"= (\S.*?) (all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter|"
    r"collective-broadcast)(?:-start)?\("
)
_ARRAY = re.compile(r"\b(f32|bf16|f16|s32|u32|u8|pred)\[([\d,]*)\]")
_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "u8": 1, "pred": 1}
_STEPS = 3

Step = collections.namedtuple("Step", "jitted compiled state batch key job config")


@pytest.fixture(scope="module")
def step(tmp_path_factory, quick_compilation):
    """The step of a tiny run over eight devices, with what it is called with."""
    config = tiny_run.make_config(
        tmp_path_factory.mktemp("unused"), model__channel_multipliers=(1,)
    )
    mesh = sharding.data_mesh()
    everywhere = sharding.replicated(mesh)
    job = train.make_job(config, components.noise_schedule(config, tmp_path_factory), mesh)
    tx = optimizer.make_optimizer(components.optimizer_settings(config.train, num_images=1))
    jitted = training_run.compile_step(config, job, tx, mesh)
    new_state = jax.jit(
        functools.partial(state_lib.init_state, optimizer=tx), out_shardings=everywhere
    )
    size = config.data.condition_size
    pixels = np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8)
    batch = {"image": pixels}
    state, key = new_state(job.init_params()), jax.device_put(jax.random.key(0), everywhere)
    on_devices = jax.device_put(batch, sharding.over_batch(mesh))
    compiled = jitted.lower(state, on_devices, key).compile()
    return Step(jitted, compiled, state, batch, key, job, config)


def _bytes(tree):
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def test_devices_exchange_the_gradient_and_a_few_numbers_at_once(step):
    """No activation and no parameter goes from one device to another."""
    exchanged = _COMMUNICATION.findall(step.compiled.as_text())
    assert [kind for _, kind in exchanged] == ["all-reduce"]
    arrays = [
        (kind, [int(n) for n in shape.split(",") if n])
        for kind, shape in _ARRAY.findall(exchanged[0][0])
    ]
    size = sum(_BYTES[kind] * int(np.prod(shape, dtype=int)) for kind, shape in arrays)
    # The loss, and sums and counts of it in each range of sigma.
    numbers = 1 + 2 * len(state_lib.SIGMA_RANGES)
    assert size == _bytes(step.state.params) + 4 * numbers


def test_the_new_state_takes_the_memory_of_the_old_one(step):
    memory = step.compiled.memory_analysis()
    # `is_healthy` and `step` are as large as the others are in bytes, so nothing is left out.
    assert memory.alias_size_in_bytes == _bytes(step.state)
    assert memory.host_temp_size_in_bytes == memory.host_argument_size_in_bytes == 0


def test_steps_are_compiled_once_and_touch_no_host_memory(step):
    mesh = sharding.data_mesh()
    batches = pipeline.to_device(iter([step.batch] * (_STEPS + 3)), sharding.over_batch(mesh))
    state = jax.tree.map(lambda x: x.copy(), step.state)
    before = jax.tree.leaves(state.params)
    with jax.transfer_guard("disallow"):
        for _ in range(_STEPS):
            with jax.transfer_guard_host_to_device("allow"):
                batch = next(batches)
            state, _ = step.jitted(state, batch, step.key)
    assert step.jitted._cache_size() == 1
    assert all(leaf.is_deleted() for leaf in before)
    assert int(state.step) == _STEPS


def test_pmap_with_pmean_finds_the_gradient_of_the_step(step):
    """The design card's pmapped step is the same computation, said with `lax.pmean`."""

    def mean_loss(params, examples):
        return step.job.loss_fn(params, examples).mean()

    examples = jax.jit(step.job.draw_training)(jax.random.fold_in(step.key, 0), step.batch)
    examples = examples._replace(warp_map=None)  # the loss does not read it
    params = jax.tree.map(np.asarray, step.state.params)
    pmapped = jax.pmap(
        lambda params, examples: jax.lax.pmean(jax.grad(mean_loss)(params, examples), "data"),
        axis_name="data",
        in_axes=(None, 0),
    )(params, jax.tree.map(lambda x: np.asarray(x).reshape(8, -1, *x.shape[1:]), examples))
    expected = jax.tree.map(lambda gradient: np.asarray(gradient[0]), pmapped)

    state, metrics = step.jitted(
        jax.tree.map(lambda x: x.copy(), step.state),
        jax.device_put(step.batch, sharding.over_batch(sharding.data_mesh())),
        step.key,
    )
    norm = float(optax.tree.norm(expected))
    assert metrics["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    # Adam's first moment is, after its first step, a tenth of the clipped gradient.
    clipped = 10 * max(1.0, norm / step.config.train.clip_norm)
    found = jax.tree.map(lambda moment: clipped * moment, optax.tree.get(state.opt_state, "mu"))
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5 * norm), found, expected
    )
