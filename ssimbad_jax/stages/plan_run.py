"""A plan of a training: what its steps cost, what fits, and how long it takes, before it begins."""

import os
import statistics
import time
from collections.abc import Generator, Iterator

import jax
import jax.numpy as jnp
import ml_collections

from ssimbad_jax.stages import components, forecast, hardware, step_cost, training_run
from ssimbad_jax.training import progress, sharding

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
        ValueError: there is no such device, or a batch does not divide among them.
    """
    chip, count = (None, len(jax.devices())) if device == hardware.CPU else hardware.parse(device)
    stages = ("train", "refine") if config.refine.enabled else ("train",)
    for name in stages:
        _check_batch(config[name], name, count)
    chip = chip or _this_cpu()
    seconds = {}
    for name in stages:
        seconds[name] = yield from _plan_stage(config, name, chip, count, num_images)
    if len(stages) > 1:
        yield f"both: {_days(sum(seconds.values()))}"
    yield from _assumptions(device)
    if device == hardware.CPU:
        steps = components.total_steps(config.train, num_images)
        yield from _comparison(config, seconds["train"] / steps)


def _check_batch(settings: ml_collections.ConfigDict, name: str, count: int) -> None:
    batch_size = settings.batch_size // settings.accumulate
    if batch_size % count:
        raise ValueError(
            f"{name}.batch_size / {name}.accumulate is {batch_size}, not divisible by {count} "
            f"devices; set {name}.batch_size to a multiple of {count * settings.accumulate}"
        )


def _plan_stage(
    config: ml_collections.ConfigDict,
    name: str,
    chip: hardware.Chip,
    count: int,
    num_images: int,
) -> Generator[str, None, float]:
    """Yields the lines of "train" or "refine" and returns its seconds."""
    settings = config[name]
    batch_size = settings.batch_size // settings.accumulate
    scaling = _scaling(config, name, batch_size // count)
    if name == "train":
        yield f"network: {scaling.parameters:,} parameters"
    else:
        # XLA counts the body of a loop once, and nearly all of a refinement is in loops.
        scaling = scaling.repeated(settings.sampler_steps)
    yield _cost(scaling, name, settings)
    expected = forecast.forecast(scaling, chip, count, batch_size, config.model.compute_dtype)
    yield _memory(expected, name, chip, count)
    seconds = expected.seconds * settings.accumulate
    yield (
        f"time: {seconds:.3g} s a step ({1 / seconds:.3g} steps/s), {expected.bound} being the "
        f"slower: computing {expected.compute:.3g} s, memory traffic {expected.traffic:.3g} s, "
        f"all-reduce {expected.all_reduce:.3g} s"
    )
    steps = components.total_steps(settings, num_images)
    label = {"train": "training", "refine": "refinement"}[name]
    yield f"{label}: {steps:,} steps, {_days(steps * seconds)}"
    return steps * seconds


def _days(seconds: float) -> str:
    days = seconds / training_run.SECONDS_A_DAY
    return f"{days:.3g} days ({progress.format_duration(seconds)})"


def _scaling(config: ml_collections.ConfigDict, name: str, pictures: int) -> forecast.Scaling:
    """Compiles the step for two batch sizes, which show what grows with the batch."""
    config = config.copy_and_resolve_references()
    config[name].accumulate = 1
    # A large batch takes long to compile and tells no more.
    larger = min(max(2, pictures), 8)
    sizes = (larger // 2, larger)
    return forecast.Scaling.of({size: step_cost.of_step(config, name, size) for size in sizes})


def _cost(scaling: forecast.Scaling, name: str, settings: ml_collections.ConfigDict) -> str:
    pictures = settings.batch_size
    walk = f" through K = {settings.sampler_steps} solver steps" if name == "refine" else ""
    return (
        f"a step of {pictures} pictures{walk}: {scaling.flops.at(pictures) / 1e12:.3g} TFLOP, "
        f"{scaling.bytes_accessed.at(pictures) / 1e9:.3g} GB of memory traffic"
    )


def _memory(expected: forecast.Forecast, name: str, chip: hardware.Chip, count: int) -> str:
    line = (
        f"memory: {expected.memory / 1e9:.3g} GB on each of {count} device(s); largest batch that "
        f"fits {chip.memory / 1e9:.3g} GB: {expected.largest_batch * count}"
    )
    if expected.memory > forecast.USABLE_MEMORY * chip.memory:
        line += f"; the step DOES NOT FIT: raise {name}.accumulate, or take more devices"
    return line


def _assumptions(device: str) -> Iterator[str]:
    rates = "rates measured here" if device == hardware.CPU else "rates of the data sheet"
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
