"""Measures parts of the code beside what they replace.

    python -m scripts.benchmark calibration --pictures=DIR
    python -m scripts.benchmark refinement_memory
    python -m scripts.benchmark checkpoints

`calibration`: the official calibration (22 scales, each at its own 50 noise levels, fresh noise at
every point, scikit-image's SSIM) and this code's, on the same pictures: time, R^2 of every scale,
and how much R^2 varies between noise draws. Takes about six minutes on two CPU cores.

`refinement_memory`: the memory that XLA plans for a refinement step of the paper's network at 256
px, for 5 and 50 steps of the solver, and the batch that fits in an accelerator's memory. It only
compiles.

`checkpoints`: the time that a checkpoint every 100 steps takes off the training at 32 px, against
the same steps without, by turns. Takes a quarter of an hour on two CPU cores.
"""

import importlib.util
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
from absl import app, flags, logging
from jax.sharding import Mesh

from ssimbad_jax import streams
from ssimbad_jax.configs import benchmark_s32, edm_ssimbad
from ssimbad_jax.diffusion import scale_selection, sigma_scale
from ssimbad_jax.metrics import noise_ssim, ssim
from ssimbad_jax.stages import checkpoint_cost, failures, forecast, remote, step_cost, validation
from ssimbad_jax.training import progress, sharding

_PICTURES = flags.DEFINE_string("pictures", None, "Folder of pictures; the first by name are used.")
_IMAGES = flags.DEFINE_integer("images", 20, "Pictures to measure.", lower_bound=1)
_SIZE = flags.DEFINE_integer("size", 128, "Pixels to resize them to.", lower_bound=7)
_SIGMAS = flags.DEFINE_integer("sigmas", 192, "Noise levels of the common grid.", lower_bound=4)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed repetitions of this code.", lower_bound=1)
_DRAWS = flags.DEFINE_integer(
    "draws", 8, "Noise draws that the spread of R^2 is measured over.", lower_bound=2
)

_DTYPE = flags.DEFINE_enum(
    "dtype", "float32", validation.CHOICES["model.compute_dtype"], "That the network computes in."
)
_STEPS = flags.DEFINE_integer("steps", 100, "Between checkpoints.", lower_bound=1)
remote.refuse_in_flags("pictures")

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_SIGMA_MIN, _SIGMA_MAX = 0.002, 80.0


def load_pictures(folder: pathlib.Path, count: int, size: int) -> np.ndarray:
    """Returns the first pictures by name, resized bilinearly: uint8 [count, size, size, 3].

    Raises:
        ValueError: the folder holds too few pictures.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in _SUFFIXES)[:count]
    if len(paths) < count:
        raise ValueError(
            f"--pictures={folder} holds {len(paths)} pictures ({', '.join(_SUFFIXES)}) and "
            f"--images asks for {count}; name another folder or a smaller number"
        )
    shape = (size, size)
    return np.stack(
        [
            np.asarray(
                PIL.Image.open(path).convert("RGB").resize(shape, PIL.Image.Resampling.BILINEAR)
            )
            for path in paths
        ]
    )


def scikit_image_calibration(images: np.ndarray, seed: int) -> np.ndarray:
    """Returns R^2 by the official protocol, one call of scikit-image a point, picture and scale.

    Args:
        images: uint8 [N, H, W, 3].
        seed: of the noise.

    Returns:
        [scales], averaged over the pictures, in the order of `sigma_scale.CANDIDATES`.
    """
    from skimage import metrics  # of requirements-dev.txt, which the other benchmarks do without

    generator = np.random.default_rng(seed)
    originals = images.astype(np.float32) / 127.5 - 1.0
    results = []
    for scale in sigma_scale.CANDIDATES.values():
        u, sigmas = scale_selection.even_grid(
            scale, _SIGMA_MIN, _SIGMA_MAX, scale_selection.OFFICIAL_POINTS
        )
        curves = np.empty((len(images), len(sigmas)))
        for i, x0 in enumerate(originals):
            for j, sigma in enumerate(sigmas):
                noise = generator.standard_normal(x0.shape, np.float32)
                noised = np.clip(x0 + np.float32(sigma) * noise, -1.0, 1.0)
                curves[i, j] = metrics.structural_similarity(
                    (x0 + 1.0) / 2.0, (noised + 1.0) / 2.0, channel_axis=-1, data_range=1.0
                )
        results.append(scale_selection.r_squared(u, curves).mean())
    return np.asarray(results)


def fresh_noise_calibration(images: np.ndarray, num_draws: int, seed: int) -> np.ndarray:
    """Returns R^2 by the official protocol, fresh noise at every point, with this code's SSIM.

    Returns:
        [num_draws, scales].
    """
    results = []
    for number, scale in enumerate(sigma_scale.CANDIDATES.values()):
        u, sigmas = scale_selection.even_grid(
            scale, _SIGMA_MIN, _SIGMA_MAX, scale_selection.OFFICIAL_POINTS
        )
        keys = streams.of_each(streams.fold_in(jax.random.key(seed), number), num_draws)
        curves = np.stack([_fresh_noise_curves(k, images, sigmas.astype(np.float32)) for k in keys])
        results.append(scale_selection.r_squared(u, curves.astype(np.float64)).mean(axis=-1))
    return np.stack(results, axis=-1)


@jax.jit
def _fresh_noise_curves(key: jax.Array, images: jax.Array, sigmas: jax.Array) -> jax.Array:
    """Returns the SSIM of uint8 [N, H, W, 3] at each of [S] noise levels: [N, S]."""

    def similarity(number_key_sigma: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        number, key, sigma = number_key_sigma
        x0 = images[number][None] / 127.5 - 1.0
        noised = jnp.clip(x0 + sigma * jax.random.normal(key, x0.shape), -1.0, 1.0)
        return ssim.ssim_uniform((x0 + 1.0) / 2.0, (noised + 1.0) / 2.0)[0]

    points = len(images) * len(sigmas)
    numbers = jnp.repeat(jnp.arange(len(images)), len(sigmas))
    each_point = (numbers, streams.of_each(key, points), jnp.tile(sigmas, len(images)))
    return jax.lax.map(similarity, each_point).reshape(len(images), len(sigmas))


def this_calibration(
    images: np.ndarray, num_sigmas: int, num_draws: int, seed: int, mesh: Mesh
) -> np.ndarray:
    """Returns R^2 of every scale from one common grid of noise levels and one draw.

    Returns:
        [num_draws, scales].
    """
    sigmas = np.geomspace(_SIGMA_MIN, _SIGMA_MAX, num_sigmas)
    values = noise_ssim.noise_ssim(jax.random.key(seed), images, sigmas, num_draws, mesh)
    curves = scale_selection.SsimCurves(sigmas, values)
    scales = sigma_scale.CANDIDATES.values()
    return np.stack(
        [scale_selection.scale_r2(scale, curves).mean(axis=-1) for scale in scales], axis=-1
    )


def timed(function: Callable[..., np.ndarray], *arguments: Any) -> tuple[float, np.ndarray]:
    """Returns the seconds that a call takes, and its result."""
    begin = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - begin, result


def calibration(pictures: pathlib.Path) -> None:
    """Prints times and R^2 of both calibrations on the first pictures of a folder."""
    if importlib.util.find_spec("skimage") is None:
        sys.exit(
            "error: calibration compares with scikit-image, which is not installed; call "
            "`make test` once, or pip install -r requirements-dev.txt"
        )
    images = load_pictures(pictures, _IMAGES.value, _SIZE.value)
    devices = jax.devices()
    meshes = {len(chosen): sharding.data_mesh(chosen) for chosen in (devices[:1], devices)}

    first: dict[int, float] = {}
    seconds: dict[int, list[float]] = {number: [] for number in meshes}
    for number, mesh in meshes.items():
        first[number], _ = timed(this_calibration, images, _SIGMAS.value, 1, 0, mesh)
    reference_seconds, reference = timed(scikit_image_calibration, images, 0)
    for seed in range(_REPEATS.value):
        for number, mesh in meshes.items():
            elapsed, _ = timed(this_calibration, images, _SIGMAS.value, 1, seed, mesh)
            seconds[number].append(elapsed)

    calls = len(sigma_scale.CANDIDATES) * scale_selection.OFFICIAL_POINTS * len(images)
    progress.say(f"scikit-image, {calls} calls: {reference_seconds:.1f} s, one run")
    for number, times in seconds.items():
        median = statistics.median(times)
        progress.say(
            f"this code, {_SIGMAS.value} noise levels, {devices[0].platform} x {number}: "
            f"{median:.2f} s, median of {len(times)} ({min(times):.2f} to {max(times):.2f}); "
            f"{reference_seconds / median:.0f} times as fast; "
            f"compiling took {first[number] - median:.1f} s more at the first call"
        )

    mesh, num_draws = meshes[len(devices)], _DRAWS.value
    # A seed of its own: the scikit-image column and this code's come from different noise.
    fresh = fresh_noise_calibration(images, num_draws, 1)
    shared = this_calibration(images, _SIGMAS.value, num_draws, 1, mesh)
    progress.say(
        f"\nMean R^2 of {len(images)} pictures at {_SIZE.value} px, +- standard deviation over "
        f"{num_draws} noise draws.\nOfficial protocol: fresh noise at every point, with this "
        "code's SSIM, since scikit-image would take too long.\n"
        f"{'scale':<16}{'scikit-image':>13}{'official protocol':>19}{'this code':>19}"
    )
    rows = zip(sigma_scale.CANDIDATES, reference, fresh.T, shared.T, strict=True)
    for name, value, official, ours in sorted(rows, key=lambda row: -row[1]):
        progress.say(
            f"{name:<16}{value:>13.4f}"
            f"{official.mean():>10.4f} +-{official.std(ddof=1):.5f}"
            f"{ours.mean():>10.4f} +-{ours.std(ddof=1):.5f}"
        )
    spread_of_fresh, spread_of_shared = (x.std(axis=0, ddof=1) for x in (fresh, shared))
    progress.say(
        f"largest difference of R^2 to scikit-image: "
        f"{np.abs(shared.mean(axis=0) - reference).max():.4f}; root mean square of the standard "
        f"deviations: {np.sqrt(np.mean(spread_of_fresh**2)):.5f} official, "
        f"{np.sqrt(np.mean(spread_of_shared**2)):.5f} this code"
    )


def refinement_memory(pictures: pathlib.Path | None) -> None:
    """Prints what a refinement step takes for few and many steps, and which batches fit."""
    del pictures
    config = edm_ssimbad.get_config()
    config.model.compute_dtype = _DTYPE.value
    measured = {}
    for batch_size, steps in ((8, 5), (8, 50), (2, 50)):
        config.refine.update(sampler_steps=steps, grid_steps=0)
        cost = measured[batch_size, steps] = step_cost.of_step(config, "refine", batch_size)
        progress.say(
            f"batch {batch_size}, {steps} steps, {_DTYPE.value}: {cost.temporary / 1e9:.2f} GB "
            f"temporary, {cost.arguments / 1e9:.2f} GB state and batch"
        )
    few, many = (measured[8, steps].temporary for steps in (5, 50))
    states = 45 * step_cost.state_bytes(config, 8)
    progress.say(
        f"50 steps take {many / few:.3f} times the temporary memory of 5; without the 45 states "
        f"more ({states / 1e9:.2f} GB) {(many - states) / few:.3f} times"
    )
    needed = forecast.Linear.through((2, measured[2, 50].memory), (8, measured[8, 50].memory))
    for gigabytes in (16, 40, 80):
        count = forecast.largest_batch(needed, gigabytes * 1e9)
        usable = forecast.USABLE_MEMORY
        progress.say(f"{gigabytes} GB, of which {usable:.0%} is used: batch {count}")


def checkpoints(pictures: pathlib.Path | None) -> None:
    """Prints what checkpoints cost."""
    del pictures
    config, mesh, steps = benchmark_s32.get_config(), sharding.data_mesh(), _STEPS.value
    seconds = checkpoint_cost.measure(config, mesh, steps, _REPEATS.value)
    ratios = [after / before - 1 for before, after in zip(*seconds, strict=True)]
    progress.say(
        f"{steps} steps of batch {config.train.batch_size} at {config.data.image_size} px: "
        f"{statistics.median(seconds.without):.2f} s, with a checkpoint "
        f"{statistics.median(seconds.with_one):.2f} s, medians of {_REPEATS.value}; a checkpoint "
        f"every {steps} steps costs {statistics.median(ratios):.1%} of the time "
        f"({min(ratios):.1%} to {max(ratios):.1%})"
    )


BENCHMARKS: dict[str, Callable[[Any], None]] = {
    "calibration": calibration,
    "refinement_memory": refinement_memory,
    "checkpoints": checkpoints,
}
_NEED_PICTURES = (calibration,)


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark that the first argument names."""
    if len(argv) != 2 or argv[1] not in BENCHMARKS:
        raise app.UsageError(f"name one benchmark: {', '.join(BENCHMARKS)}")
    logging.set_verbosity(logging.ERROR)
    benchmark = BENCHMARKS[argv[1]]
    if benchmark in _NEED_PICTURES and not _PICTURES.value:
        raise app.UsageError("--pictures=DIR is needed: a folder of pictures")
    sharding.use_every_core_as_a_device([])
    with failures.in_one_line():
        benchmark(pathlib.Path(_PICTURES.value).expanduser() if _PICTURES.value else None)


if __name__ == "__main__":
    app.run(main)
