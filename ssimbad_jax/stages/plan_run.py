"""A plan of a training: what its steps cost, what fits, and how long it takes, before it begins."""

import os
import statistics
import time
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import ml_collections

from ssimbad_jax.stages import components, forecast, hardware, step_cost, training_run
from ssimbad_jax.training import progress, sharding

CPU = "cpu"
PAPER_PICTURES = 31_696  # of the paper's training set
_MEASURED_STEPS = 5
_LONGEST_MEASURED_STEP = 60.0  # seconds
_MATRIX, _COPIED = 1024, 2**25  # rows of the products, and numbers of the copies, that are timed


def plan(config: ml_collections.ConfigDict, device: str, num_images: int) -> Iterator[str]:
    """Yields the lines of a plan; only for the CPU at hand something is run, to measure it.

    Args:
        config: see `configs/edm_ssimbad.py`.
        device: "cpu", or as `hardware.parse` takes it.
        num_images: training pictures, which epochs are counted in.

    Raises:
        ValueError: there is no such device, or the batch does not divide among them.
    """
    count = len(jax.devices())
    if device != CPU:
        chip, count = hardware.parse(device)
    train = config.train
    batch_size = train.batch_size // train.accumulate
    if batch_size % count:
        raise ValueError(
            f"train.batch_size / train.accumulate is {batch_size}, not divisible by {count} "
            f"devices; set train.batch_size to a multiple of {count * train.accumulate}"
        )
    if device == CPU:
        chip = _this_cpu()
    scaling = _scaling(config, batch_size // count)
    yield from _cost(scaling, batch_size, train.accumulate)
    expected = forecast.forecast(scaling, chip, count, batch_size, config.model.compute_dtype)
    yield from _memory(scaling, expected, chip, count)
    seconds = expected.seconds * train.accumulate
    yield (
        f"time: {seconds:.3g} s a step ({1 / seconds:.3g} steps/s), {expected.bound} being the "
        f"slower: computing {expected.compute:.3g} s, memory traffic {expected.traffic:.3g} s, "
        f"all-reduce {expected.all_reduce:.3g} s"
    )
    steps = components.total_steps(train, num_images)
    days = steps * seconds / training_run.SECONDS_A_DAY
    yield (
        f"training: {steps:,} steps, {days:.3g} days ({progress.format_duration(steps * seconds)})"
    )
    yield from _assumptions(device)
    if device == CPU:
        yield from _comparison(config, seconds)


def _scaling(config: ml_collections.ConfigDict, pictures: int) -> forecast.Scaling:
    """Compiles the step for two batch sizes, which show what grows with the batch."""
    config = config.copy_and_resolve_references()
    config.train.accumulate = 1
    # A large batch takes long to compile and tells no more.
    larger = min(max(2, pictures), 8)
    sizes = (larger // 2, larger)
    return forecast.Scaling.of({size: step_cost.of_step(config, "train", size) for size in sizes})


def _cost(scaling: forecast.Scaling, batch_size: int, accumulate: int) -> Iterator[str]:
    pictures = batch_size * accumulate
    yield f"network: {scaling.parameters:,} parameters"
    yield (
        f"a step of {pictures} pictures: {scaling.flops.at(pictures) / 1e12:.3g} TFLOP, "
        f"{scaling.bytes_accessed.at(pictures) / 1e9:.3g} GB of memory traffic"
    )


def _memory(
    scaling: forecast.Scaling, expected: forecast.Forecast, chip: hardware.Chip, count: int
) -> Iterator[str]:
    line = (
        f"memory: {expected.memory / 1e9:.3g} GB on each of {count} device(s); largest batch that "
        f"fits {chip.memory / 1e9:.3g} GB: {expected.largest_batch * count}"
    )
    if expected.memory > forecast.USABLE_MEMORY * chip.memory:
        line += "; the step DOES NOT FIT: raise train.accumulate, or take more devices"
    yield line


def _assumptions(device: str) -> Iterator[str]:
    rates = "rates measured here" if device == CPU else "rates of the data sheet"
    yield (
        f"assumed: {forecast.FLOPS_SHARE:.0%} of the peak operations and "
        f"{forecast.BANDWIDTH_SHARE:.0%} of the peak bandwidth, {rates}; operations, traffic and "
        f"memory as XLA plans them for a CPU; {forecast.USABLE_MEMORY:.0%} of the memory usable; "
        "the exchange of gradients overlaps with nothing; data is never waited for"
    )


def _comparison(config: ml_collections.ConfigDict, predicted: float) -> Iterator[str]:
    if predicted > _LONGEST_MEASURED_STEP:
        yield f"measured: nothing, since a step takes more than {_LONGEST_MEASURED_STEP:g} s"
        return
    seconds = step_cost.seconds_of_steps(config, sharding.data_mesh(), _MEASURED_STEPS)
    median = statistics.median(seconds)
    yield (
        f"measured: {median:.3g} s a step, median of {len(seconds)} ({min(seconds):.3g} to "
        f"{max(seconds):.3g}); the plan is off by {predicted / median - 1:+.0%}"
    )


def _this_cpu() -> hardware.Chip:
    """Returns the rates of one of this machine's devices while all are at work."""
    mesh = sharding.data_mesh()
    spread = sharding.over_batch(mesh)
    matrices = jax.device_put(jnp.ones((mesh.size, _MATRIX, _MATRIX)), spread)
    numbers = jax.device_put(jnp.ones((mesh.size, _COPIED)), spread)
    product = jax.jit(lambda a: a @ a, out_shardings=spread)
    copy = jax.jit(lambda a: a + 1, out_shardings=spread)
    flops = 2 * _MATRIX**3 / _seconds(product, matrices)
    bandwidth = 2 * numbers.itemsize * _COPIED / _seconds(copy, numbers)
    return hardware.Chip(
        flops={"float32": flops, "bfloat16": flops},
        memory=_memory_of_machine() / mesh.size,
        bandwidth=bandwidth,
        link=bandwidth,
    )


def _seconds(function: jax.stages.Wrapped, argument: jax.Array) -> float:
    jax.block_until_ready(function(argument))
    times = []
    for _ in range(_MEASURED_STEPS):
        begin = time.perf_counter()
        jax.block_until_ready(function(argument))
        times.append(time.perf_counter() - begin)
    return min(times)


def _memory_of_machine() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
