"""Scoring: how near coloured sketches come to the truth, with the model's and other references.

    checkpoints/pretrain + test pictures -> eval/{metrics.json,per_image.csv,grid.png,same/,cross/}

Results are scored as the 8-bit pictures that are saved, so that other tools find the same.
"""

import functools
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax.data import conditions, pairs, pipeline
from ssimbad_jax.diffusion import samplers
from ssimbad_jax.metrics import psnr, ssim
from ssimbad_jax.stages import components, continuation, score_files
from ssimbad_jax.training import checkpoint, progress, recovery, sharding

METRICS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "psnr": psnr.psnr,
    "ssim": ssim.ssim_gaussian,
}
COPY, MEAN_COLOUR = "copy the reference", "mean colour of the reference"
SCORED_AT_ONCE = 64

# Independent streams of the run's key, apart from those of training.
_PAIRS, _NOISE, _CHURN = range(100, 103)


class Method(NamedTuple):
    """A way to colour.

    Attributes:
        name: for the tables.
        network_calls: calls of the network for each picture.
        colour: (params, noise, condition, key) -> pictures `[B, H, W, 3]`. The truth is no input.
    """

    name: str
    network_calls: int
    colour: Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]


ColourBatch = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Colours the test sketches in both settings and scores the results.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of a run that has a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint, or no file of pairs.
        ValueError: the pairs do not fit the model, or the checkpoint not the config.
        DamagedError: there are checkpoints, and all are damaged.
    """
    mesh = sharding.data_mesh()
    test_pairs = open_pairs(config)
    step, params = _trained_params(config, workdir, mesh)
    methods = _methods(config, workdir)
    count = len(test_pairs.gt)
    results: score_files.Results = {
        setting: _simple_answers(test_pairs, setting) for setting in pairs.SETTINGS
    }
    with progress.Progress("evaluate", 2 * count * len(methods), unit="picture") as bar:
        for method in methods:
            colour = _compile(method, params, test_pairs, config, mesh)
            for setting in pairs.SETTINGS:
                note = f"{method.name}, {setting}"
                pixels, seconds = _colour_all(
                    colour,
                    _inputs(test_pairs, setting),
                    config.eval.batch_size,
                    mesh,
                    functools.partial(bar.advance, note=note),
                )
                scores = _score(pixels, test_pairs.gt)
                results[setting][method.name] = score_files.Result(
                    pixels, scores, method.network_calls, seconds
                )
    folder = workdir / config.eval.folder
    if jax.process_index() == 0:
        summary = {
            "checkpoint_step": step,
            "pairs": config.eval.pairs or "test split",
            "num_images": count,
            "seed": config.seed,
            "rows": score_files.rows(results),
        }
        score_files.write_numbers(folder, summary, results)
        score_files.write_pictures(
            folder, test_pairs, results, methods[0].name, config.eval.save_images
        )
        progress.say(score_files.table(summary, list(METRICS)))
    progress.say(f"evaluate: results are in {folder}")


def open_pairs(config: ml_collections.ConfigDict) -> pairs.Pairs:
    """Returns the pairs to score: those of `eval.pairs`, or made of the test split.

    Raises:
        FileNotFoundError: there is no such file of pairs.
        ValueError: the pairs do not fit the model.
    """
    size = config.data.image_size
    if config.eval.pairs:
        loaded = pairs.load(pathlib.Path(config.eval.pairs).expanduser(), size)
        return loaded.first(config.eval.max_images)
    source = pipeline.open_source(components.data_builder(config), "test")
    key = jax.random.fold_in(jax.random.key(config.seed), _PAIRS)
    made = pairs.make(source, key, image_size=size, warp=config.data.warp)
    return made.first(config.eval.max_images)


def _trained_params(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, mesh: jax.sharding.Mesh
) -> tuple[int, Any]:
    """Returns the step and the averaged parameters of the checkpoint to score."""
    checkpoints = checkpoint.Checkpoints(workdir / components.CHECKPOINTS, read_only=True)
    try:
        like = components.abstract_params(config, sharding.replicated(mesh))
        best = config.eval.checkpoint == "best"
        restored = recovery.restore_ema_params(checkpoints, like, best)
        if restored is None:
            raise FileNotFoundError(
                f"{checkpoints.directory} holds no checkpoint; "
                "train first: --stages=calibrate,train"
            )
        step, params = restored
        continuation.check_network(
            checkpoints.run_config(step), components.as_json(config), checkpoints.path(step)
        )
        return step, params
    finally:
        checkpoints.close()


def _methods(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> list[Method]:
    noise_schedule = components.noise_schedule(config, workdir)
    denoise = components.denoise_with_params(config, noise_schedule)

    def posterior_mean(
        params: Any, noise: jax.Array, condition: jax.Array, key: jax.Array
    ) -> jax.Array:
        return samplers.posterior_mean(
            lambda noisy, sigma: denoise(params, noisy, sigma, condition),
            noise,
            noise_schedule.sigma_max,
        )

    steps = config.eval.sampler_steps
    calls = 2 * steps - 1 if config.eval.sampler == "heun" else steps
    return [
        Method(f"{config.eval.sampler}-{steps}", calls, components.sampler(config, noise_schedule)),
        Method("posterior mean", 1, posterior_mean),
    ]


def _simple_answers(test_pairs: pairs.Pairs, setting: str) -> dict[str, score_files.Result]:
    """What a model has to beat: answers that need no network."""
    reference = test_pairs.reference(setting)
    mean_colour = np.rint(reference.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    answers = {COPY: reference, MEAN_COLOUR: np.broadcast_to(mean_colour, reference.shape)}
    return {
        name: score_files.Result(pixels, _score(pixels, test_pairs.gt), 0, 0.0)
        for name, pixels in answers.items()
    }


def _compile(
    method: Method,
    params: Any,
    test_pairs: pairs.Pairs,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
) -> ColourBatch:
    """Returns (numbers, sketches, references) of a batch -> coloured pictures, compiled."""
    key = jax.random.key(config.seed)
    by_batch, everywhere = sharding.over_batch(mesh), sharding.replicated(mesh)
    shape = test_pairs.gt.shape[1:]

    def colour(
        params: Any, numbers: jax.Array, sketch: jax.Array, reference: jax.Array
    ) -> jax.Array:
        # Noise belongs to the picture's number: the same in every batch size and setting.
        noise_key = jax.random.fold_in(key, _NOISE)
        noise = jax.vmap(
            lambda number: jax.random.normal(jax.random.fold_in(noise_key, number), shape)
        )(numbers)
        condition = jnp.concatenate(
            [conditions.from_uint8(sketch)[..., None], conditions.from_uint8(reference)], axis=-1
        )
        churn_key = jax.random.fold_in(jax.random.fold_in(key, _CHURN), numbers[0])
        return conditions.to_uint8(method.colour(params, noise, condition, churn_key))

    jitted = jax.jit(
        colour, in_shardings=(everywhere, by_batch, by_batch, by_batch), out_shardings=by_batch
    )
    inputs = _inputs(test_pairs, pairs.SETTINGS[0])
    example = [_batch(array, 0, config.eval.batch_size) for array in inputs]
    return functools.partial(jitted.lower(params, *example).compile(), params)


def _colour_all(
    colour: ColourBatch,
    inputs: Sequence[np.ndarray],
    batch_size: int,
    mesh: jax.sharding.Mesh,
    advance: Callable[[int], None],
) -> tuple[np.ndarray, float]:
    """Returns all pictures and the seconds for one; the padding of the last batch is cut off."""
    count = len(inputs[0])
    parts = []
    begin = time.monotonic()
    for start in range(0, count, batch_size):
        batch = [_batch(array, start, batch_size) for array in inputs]
        on_devices = jax.device_put(batch, sharding.over_batch(mesh))
        parts.append(sharding.fetch(colour(*on_devices)))
        advance(min(batch_size, count - start))
    seconds = (time.monotonic() - begin) / count
    return np.concatenate(parts)[:count], seconds


def _inputs(test_pairs: pairs.Pairs, setting: str) -> tuple[np.ndarray, ...]:
    """Returns all that colouring may see: numbers, sketches and references."""
    numbers = np.arange(len(test_pairs.gt), dtype=np.int32)
    return numbers, test_pairs.sketch, test_pairs.reference(setting)


def _batch(array: np.ndarray, start: int, batch_size: int) -> np.ndarray:
    """Returns a slice of fixed length; behind the end the last entry is repeated."""
    return array[np.minimum(np.arange(start, start + batch_size), len(array) - 1)]


def _score(pixels: np.ndarray, gt: np.ndarray) -> dict[str, np.ndarray]:
    """Returns every metric of every picture, `[N]`, in chunks to bound the memory."""
    scores = {}
    for name, metric in METRICS.items():
        jitted = jax.jit(metric)
        chunks = [
            jitted(
                *(part[start : start + SCORED_AT_ONCE] / np.float32(255) for part in (pixels, gt))
            )
            for start in range(0, len(gt), SCORED_AT_ONCE)
        ]
        scores[name] = np.concatenate(chunks)
    return scores
