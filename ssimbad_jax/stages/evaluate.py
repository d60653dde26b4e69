"""Scoring: how near coloured sketches come to the truth, with the model's and other references.

    checkpoints/pretrain + test pictures -> eval/{metrics.json,per_image.csv,grid.png,same/,cross/}

Results are scored as the 8-bit pictures that are saved, so that other tools find the same.
"""

import csv
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from ssimbad_jax.data import conditions, pairs, pipeline
from ssimbad_jax.diffusion import samplers
from ssimbad_jax.metrics import psnr, ssim
from ssimbad_jax.stages import components, pictures
from ssimbad_jax.training import checkpoint, progress, sharding

METRICS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "psnr": psnr.psnr,
    "ssim": ssim.ssim_gaussian,
}
COPY, MEAN_COLOUR = "copy the reference", "mean colour of the reference"
ROWS_OF_EACH_KIND = 3

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


class Result(NamedTuple):
    """What a method made of all pictures of a setting.

    Attributes:
        pixels: uint8 `[N, H, W, 3]`.
        scores: `[N]` for each metric.
        network_calls: for each picture.
        seconds: for each picture.
    """

    pixels: np.ndarray
    scores: dict[str, np.ndarray]
    network_calls: int
    seconds: float


Results = dict[str, dict[str, Result]]  # by setting, by method


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Colours the test sketches in both settings and scores the results.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of a run that has a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint, or no file of pairs.
        ValueError: the pairs do not fit the model.
    """
    mesh = sharding.data_mesh()
    test_pairs = open_pairs(config)
    step, params = _trained_params(config, workdir, mesh)
    methods = _methods(config, workdir)
    results: Results = {}
    count = len(test_pairs.gt)
    with progress.Progress("evaluate", 2 * count * len(methods), unit="picture") as bar:
        for setting in pairs.SETTINGS:
            results[setting] = _simple_answers(test_pairs, setting)
            for method in methods:
                results[setting][method.name] = _run_method(
                    method, params, test_pairs, setting, config, mesh, bar
                )
    folder = workdir / config.eval.folder
    if jax.process_index() == 0:
        summary = {
            "checkpoint_step": step,
            "pairs": config.eval.pairs or "test split",
            "num_images": count,
            "seed": config.seed,
            "rows": _rows(results),
        }
        _write_numbers(folder, summary, results)
        _write_pictures(folder, test_pairs, results, methods[0].name, config.eval.save_images)
        progress.say(_table(summary))
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
        best = config.eval.checkpoint == "best"
        step = checkpoints.best_step() if best else checkpoints.latest_step()
        if step is None:
            raise FileNotFoundError(
                f"{checkpoints.directory} holds no checkpoint; "
                "train first: --stages=calibrate,train"
            )
        like = components.abstract_params(config, sharding.replicated(mesh))
        return step, checkpoints.restore_ema_params(step, like)
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


def _simple_answers(test_pairs: pairs.Pairs, setting: str) -> dict[str, Result]:
    """What a model has to beat: answers that need no network."""
    reference = test_pairs.reference(setting)
    mean_colour = np.rint(reference.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    answers = {COPY: reference, MEAN_COLOUR: np.broadcast_to(mean_colour, reference.shape)}
    return {
        name: Result(pixels, _score(pixels, test_pairs.gt), 0, 0.0)
        for name, pixels in answers.items()
    }


def _run_method(
    method: Method,
    params: Any,
    test_pairs: pairs.Pairs,
    setting: str,
    config: ml_collections.ConfigDict,
    mesh: jax.sharding.Mesh,
    bar: progress.Progress,
) -> Result:
    """Colours every sketch; the last batch is padded, and what was padded is cut off again."""
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

    batch_size = config.eval.batch_size
    inputs = (
        np.arange(len(test_pairs.gt), dtype=np.int32),
        test_pairs.sketch,
        test_pairs.reference(setting),
    )
    compiled = (
        jax.jit(
            colour,
            in_shardings=(everywhere, by_batch, by_batch, by_batch),
            out_shardings=by_batch,
        )
        .lower(params, *(_batch(array, 0, batch_size) for array in inputs))
        .compile()
    )
    parts = []
    begin = time.monotonic()
    for start in range(0, len(inputs[0]), batch_size):
        batch = [jax.device_put(_batch(array, start, batch_size), by_batch) for array in inputs]
        parts.append(sharding.fetch(compiled(params, *batch)))
        bar.advance(min(batch_size, len(inputs[0]) - start), note=f"{method.name}, {setting}")
    seconds = (time.monotonic() - begin) / len(inputs[0])
    pixels = np.concatenate(parts)[: len(inputs[0])]
    return Result(pixels, _score(pixels, test_pairs.gt), method.network_calls, seconds)


def _batch(array: np.ndarray, start: int, batch_size: int) -> np.ndarray:
    """Returns a slice of fixed length; behind the end the last entry is repeated."""
    return array[np.minimum(np.arange(start, start + batch_size), len(array) - 1)]


def _score(pixels: np.ndarray, gt: np.ndarray) -> dict[str, np.ndarray]:
    a, b = (jnp.asarray(p, jnp.float32) / 255.0 for p in (pixels, gt))
    return {name: np.asarray(jax.jit(metric)(a, b)) for name, metric in METRICS.items()}


def _rows(results: Results) -> list[dict[str, Any]]:
    """Returns one row a method: mean and standard error of each metric in each setting."""
    rows = []
    for name, first in results[pairs.SETTINGS[0]].items():
        row: dict[str, Any] = {"method": name, "network_calls": first.network_calls}
        row["seconds_per_image"] = first.seconds
        for setting in pairs.SETTINGS:
            for metric, values in results[setting][name].scores.items():
                row[f"{metric}_{setting}"] = float(values.mean())
                error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
                row[f"{metric}_{setting}_standard_error"] = float(error)
        rows.append(row)
    # The model first, then the answers that need no network.
    return sorted(rows, key=lambda row: -row["network_calls"])


def _write_numbers(folder: pathlib.Path, summary: dict[str, Any], results: Results) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")
    with (folder / "per_image.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["setting", "method", "image", *METRICS])
        for setting, by_method in results.items():
            for name, result in by_method.items():
                for number, values in enumerate(zip(*result.scores.values(), strict=True)):
                    writer.writerow([setting, name, number, *(f"{value:.5f}" for value in values)])


def _write_pictures(
    folder: pathlib.Path,
    test_pairs: pairs.Pairs,
    results: Results,
    method: str,
    save_images: int,
) -> None:
    """Writes single results, and a grid of the best, median and worst."""
    for setting in pairs.SETTINGS:
        for number, pixels in enumerate(results[setting][method].pixels[:save_images]):
            pictures.save_png(folder / setting / f"{number:05d}.png", pixels)
    same, cross = (results[setting][method] for setting in pairs.SETTINGS)
    order = np.argsort(-same.scores["ssim"], kind="stable")
    middle = max(0, len(order) // 2 - ROWS_OF_EACH_KIND // 2)
    shown = [
        *order[:ROWS_OF_EACH_KIND],
        *order[middle : middle + ROWS_OF_EACH_KIND],
        *order[-ROWS_OF_EACH_KIND:],
    ]
    columns = (
        test_pairs.sketch[..., None],
        test_pairs.reference_same,
        same.pixels,
        test_pairs.gt,
        test_pairs.reference_cross,
        cross.pixels,
    )
    pictures.save_grid(
        folder / "grid.png",
        [column[shown] for column in columns],
        titles=["sketch", "reference", "result", "target", "cross reference", "result"],
    )


def _table(summary: dict[str, Any]) -> str:
    names = [f"{metric}_{setting}" for setting in pairs.SETTINGS for metric in METRICS]
    lines = [f"{'':32}{'calls':>6}" + "".join(f"{name.replace('_', ' '):>18}" for name in names)]
    for row in summary["rows"]:
        cells = "".join(
            f"{row[name]:>10.3f} ±{row[name + '_standard_error']:.3f}".rjust(18) for name in names
        )
        lines.append(f"{row['method']:32}{row['network_calls']:>6}{cells}")
    return "\n".join(lines)
