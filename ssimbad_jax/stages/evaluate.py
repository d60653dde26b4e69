"""Scoring: how near coloured sketches come to the truth, with the model's and other references.

    checkpoints/{refine,pretrain} + test pictures
        -> eval/{metrics.json,per_image.csv,grid.png,denoising.png,same/,cross/,target/}

Results are scored as the 8-bit pictures that are saved, so that other tools find the same.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.data import pairs, pipeline
from ssimbad_jax.models import inception
from ssimbad_jax.stages import (
    colouring,
    components,
    denoising_strip,
    score_files,
    scores,
    solvers,
    weights,
)
from ssimbad_jax.training import progress, sharding

STRIP_IMAGES = 3  # whose denoising is shown step by step
COPY, MEAN_COLOUR = "copy the reference", "mean colour of the reference"


def evaluate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Colours the test sketches in both settings and scores the results.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of a run that has a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint, no file of pairs, or none of Inception weights.
        ValueError: the pairs do not fit the model, the weights are no Inception weights, or the
            checkpoint does not fit the config.
        DamagedError: there are checkpoints, and all are damaged.
    """
    mesh = sharding.data_mesh()
    test_pairs = open_pairs(config)
    inception_variables = open_inception_weights(config)
    used = weights.load(config, workdir, mesh)
    config = weights.deployed(config, workdir, used.kind, used.step)
    if caution := solvers.caution(config):
        progress.say(f"evaluate: {caution}")
    methods = colouring.methods(config, workdir)
    scorer = scores.Scorer(
        config.eval.metrics,
        test_pairs.gt,
        mesh=mesh,
        batch_size=config.eval.batch_size,
        seed=config.seed,
        inception_variables=inception_variables,
    )
    seeds, count = _seeds(config), len(test_pairs.gt)
    total = len(pairs.SETTINGS) * count * (len(methods) * len(seeds) + len((COPY, MEAN_COLOUR)))
    with progress.Progress("evaluate", total, unit="picture") as bar:
        results = _simple_answers(test_pairs, scorer, bar.advance)
        for method in methods:
            colour = colouring.compile_method(method, used.params, test_pairs, config, mesh)
            for setting in pairs.SETTINGS:
                advance = functools.partial(bar.advance, note=f"{method.name}, {setting}")
                shown, size = colouring.inputs(test_pairs, setting), config.eval.batch_size
                of_seeds, seconds = zip(
                    *(
                        colouring.colour_all(colour, key, shown, size, mesh, advance)
                        for key in map(jax.random.key, seeds)
                    ),
                    strict=True,
                )
                results[setting][method.name] = score_files.Result(
                    pixels=of_seeds[0],
                    scores=scorer.score(of_seeds, test_pairs.reference(setting)),
                    network_calls=method.network_calls,
                    seconds=float(np.mean(seconds)),
                )
    folder = workdir / config.eval.folder
    few = test_pairs.first(STRIP_IMAGES)
    shown = colouring.inputs(few, pairs.SETTINGS[0])
    trajectory = colouring.trajectory(config, workdir, used.params, shown, mesh)
    if jax.process_index() == 0:
        summary = _summary(config, used, results)
        score_files.write_numbers(folder, summary, results)
        score_files.write_pictures(
            folder, test_pairs, results, methods[0].name, config.eval.save_images
        )
        denoising_strip.save(
            folder / "denoising.png",
            trajectory,
            few.sketch,
            few.reference(pairs.SETTINGS[0]),
            config.diffusion.sigma_data,
        )
        progress.say(score_files.table(summary))
    progress.say(f"evaluate: results are in {folder}")


def check_files(config: ml_collections.ConfigDict) -> None:
    """Opens the files that the user gave for scoring, so that a bad one stops no long run late.

    Raises:
        FileNotFoundError: there is no such file of pairs or of Inception weights.
        ValueError: the pairs do not fit the model, or the weights are no Inception weights.
    """
    if config.eval.pairs:
        open_pairs(config)
    open_inception_weights(config)


def open_inception_weights(config: ml_collections.ConfigDict) -> Any | None:
    """Returns the variables of FID's network, or None without `eval.inception_weights`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no Inception weights.
    """
    if not config.eval.inception_weights:
        return None
    return inception.load(components.local(config, config.eval.inception_weights))


def open_pairs(config: ml_collections.ConfigDict) -> pairs.Pairs:
    """Returns the pairs to score: those of `eval.pairs`, or made of the test split.

    Raises:
        FileNotFoundError: there is no such file of pairs.
        ValueError: the pairs do not fit the model.
    """
    size = config.data.image_size
    if config.eval.pairs:
        loaded = pairs.load(components.local(config, config.eval.pairs), size)
        return loaded.first(config.eval.max_images)
    source = pipeline.open_source(components.data_builder(config), "test")
    key = streams.fold_in(jax.random.key(config.seed), streams.Stream.PAIRS)
    made = pairs.make(source, key, image_size=size, warp=config.data.warp)
    return made.first(config.eval.max_images)


def _simple_answers(
    test_pairs: pairs.Pairs, scorer: scores.Scorer, advance: Callable[[int, str], None]
) -> score_files.Results:
    """What a model has to beat: answers that need no network."""
    results: score_files.Results = {setting: {} for setting in pairs.SETTINGS}
    for setting in pairs.SETTINGS:
        reference = test_pairs.reference(setting)
        mean_colour = np.rint(reference.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
        answers = {COPY: reference, MEAN_COLOUR: np.broadcast_to(mean_colour, reference.shape)}
        for name, pixels in answers.items():
            scored = scorer.score([pixels], reference)
            results[setting][name] = score_files.Result(pixels, scored, 0, 0.0)
            advance(len(pixels), f"{name}, {setting}")
    return results


def _seeds(config: ml_collections.ConfigDict) -> list[int]:
    """Returns the seeds of the sampling noise, the run's first; keys know 32 bits of them."""
    return [(config.seed + index) % 2**32 for index in range(config.eval.num_seeds)]


def _summary(
    config: ml_collections.ConfigDict, used: weights.Weights, results: score_files.Results
) -> dict[str, Any]:
    """Returns the content of metrics.json."""
    metrics, seeds = list(config.eval.metrics), _seeds(config)
    count = len(results[pairs.SETTINGS[0]][COPY].pixels)
    has_inception = bool(config.eval.inception_weights)
    return {
        "weights": used.kind,
        "checkpoint_step": used.step,
        "pairs": config.eval.pairs or "test split",
        "num_images": count,
        "image_size": config.data.image_size,
        "seeds": seeds,
        "eval": components.as_json(config)["eval"],
        "settings": list(pairs.SETTINGS),
        "metrics": scores.descriptions(metrics, config.data.image_size, has_inception),
        "rows": score_files.rows(results, metrics, len(seeds)),
        "notes": scores.notes(metrics, count, len(seeds), has_inception),
    }
