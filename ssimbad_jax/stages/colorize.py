"""Colouring one's own sketches: drawings and references in, pictures of the drawings' size out.

    checkpoints + sketches + references -> NAME.png, NAME.2.png, ..., contact_sheet.png

Each PNG carries a record of how it was made, by which the next call knows what is done.
"""

import collections
import itertools
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import PIL.Image
import PIL.ImageOps

from ssimbad_jax import streams
from ssimbad_jax.data import colour_layer, conditions, line_art, picture_file, sketch_pairs
from ssimbad_jax.stages import (
    colorize_files,
    colorize_jobs,
    components,
    run,
    solvers,
    validation,
    weights,
)
from ssimbad_jax.streams import Stream
from ssimbad_jax.training import progress, sharding

# Flags of the command by which refined weights sample as others do.
_OTHERWISE = "--sampler, --steps and --grid_steps choose another way"

ColourBatch = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


class _Inputs(NamedTuple):
    """A picture to make: its outcome and variant, and what the model and the result need."""

    outcome: colorize_jobs.Outcome
    variant: int
    lines: PIL.Image.Image
    sketch: np.ndarray  # [S, S, 1]
    reference: np.ndarray  # [S, S, 3]


def colorize(
    workdir: pathlib.Path,
    items: Sequence[sketch_pairs.Item],
    out: pathlib.Path,
    settings: colorize_jobs.Settings,
) -> dict[str, Any]:
    """Colours every sketch; what cannot be coloured does not stop the others.

    Args:
        workdir: of a run that has a checkpoint.
        items: see `sketch_pairs.find`.
        out: the folder of the results.
        settings: how to colour.

    Returns:
        The report: what the model and the settings were, and what became of each item.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
        OSError: the results' folder cannot be written to.
        ValueError: the run's config is damaged, does not fit its checkpoint, or the settings.
    """
    config = _config(workdir, settings)
    if caution := solvers.caution(config):
        progress.say(f"colorize: {caution}")
    _make_writable(out)
    at_once = min(settings.batch_size or config.eval.batch_size, len(items) * settings.variants)
    # Of several hosts each has a part, if only of padding.
    enough = jax.devices()[: max(1, at_once)] if sharding.is_alone() else None
    mesh = sharding.data_mesh(enough)
    used = weights.load(config, workdir, mesh)
    model = colorize_jobs.model_record(config, workdir, used, settings)
    outcomes = colorize_jobs.plan(items, out, model, settings)
    todo = [
        (outcome, variant)
        for outcome in outcomes
        if outcome.status != "failed"
        for variant in range(settings.variants)
        if settings.overwrite
        or colorize_files.read_record(outcome.results[variant]) != outcome.records[variant]
    ]
    if todo:
        batch_size = math.ceil(min(at_once, len(todo)) / mesh.size) * mesh.size
        colour = _compile(config, workdir, used.params, batch_size, mesh)
        _colour_all(colour, _read_all(todo, config, settings), len(todo), batch_size, settings)
    sheets = _save_contact_sheets(outcomes, out)
    counts = collections.Counter(outcome.status for outcome in outcomes)
    progress.say(
        f"colorize: {counts['done']} coloured, {counts['skipped']} skipped since they were done, "
        f"{counts['failed']} failed; results are in {out}"
    )
    return {
        "run": str(workdir),
        "out": str(out),
        "model": model,
        "contact_sheets": [sketch_pairs.readable(path) for path in sheets],
        "items": [colorize_jobs.as_json(outcome) for outcome in outcomes],
    }


def _save_contact_sheets(
    outcomes: Sequence[colorize_jobs.Outcome], out: pathlib.Path
) -> list[pathlib.Path]:
    if jax.process_index() > 0:
        return []
    rows = [
        (outcome.item.sketch, outcome.item.reference, outcome.results)
        for outcome in outcomes
        if outcome.status != "failed" and outcome.item.reference is not None
    ]
    try:
        return colorize_files.save_contact_sheets(out, rows)
    except OSError as error:
        progress.say(f"colorize: the contact sheet cannot be written: {error}")
        return []


def _config(workdir: pathlib.Path, settings: colorize_jobs.Settings) -> ml_collections.ConfigDict:
    """Returns the run's config with the settings in its `eval`."""
    config = run.load_config(workdir)
    which = weights.kind(config, workdir)
    config = weights.deployed(config, workdir, which, otherwise=_OTHERWISE)
    evaluation = config.eval
    evaluation.checkpoint = settings.checkpoint
    evaluation.sampler = settings.sampler or evaluation.sampler
    for option, off in solvers.OFF.items():
        if evaluation.sampler not in solvers.users(option, evaluation):
            evaluation[option] = off
    if settings.steps is not None:
        evaluation.sampler_steps = settings.steps
        if settings.steps > evaluation.grid_steps:
            evaluation.grid_steps = 0
    for name in ("grid_steps", "start_sigma", "posterior_draws", "eta"):
        value = getattr(settings, name)
        if value is not None:
            evaluation[name] = value
    if (settings.posterior_draws or 1) > 1 and not evaluation.start_sigma:
        raise ValueError(
            f"--posterior_draws={settings.posterior_draws} without --start_sigma has no effect; "
            "set --start_sigma above 0 to start from their mean"
        )
    if problems := "; ".join(solvers.problems(config)):
        # The flags have the names of the fields.
        as_flags = problems.replace("eval.sampler_steps", "--steps").replace("eval.", "--")
        raise ValueError(as_flags)
    for name in ("sketch", "reference", "structure"):
        scale = getattr(settings, f"guidance_{name}")
        if scale is not None:
            evaluation.guidance[name] = scale
    validation.check_model(config)  # a network may not be made for these scales
    return config


def _make_writable(out: pathlib.Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".part"
        probe.touch()
        probe.unlink(missing_ok=True)  # another host may have been here
    except OSError as error:
        raise OSError(f"--out={out} cannot be written to: {error.strerror}") from error


def _read_all(
    todo: Sequence[tuple[colorize_jobs.Outcome, int]],
    config: ml_collections.ConfigDict,
    settings: colorize_jobs.Settings,
) -> Iterator[_Inputs]:
    """Yields what can be read; each file is read once for all variants."""
    last, inputs = None, None
    for outcome, variant in todo:
        if outcome is not last:
            begin = time.monotonic()
            last, inputs = outcome, _read(outcome, config, settings)
            outcome.seconds += time.monotonic() - begin
        if inputs is not None:
            yield inputs._replace(variant=variant)


def _read(
    outcome: colorize_jobs.Outcome,
    config: ml_collections.ConfigDict,
    settings: colorize_jobs.Settings,
) -> _Inputs | None:
    """Reads and cleans a sketch and its reference; None where that fails."""
    sizes = config.data.condition_size, config.data.image_size
    item = outcome.item
    assert item.reference is not None
    what = item.sketch
    try:
        drawing = picture_file.read_rgb(item.sketch)
        inverted = settings.invert == "yes"
        if settings.invert == "auto" and line_art.is_light_on_dark(drawing):
            inverted = True
            progress.say(
                f"colorize: {item.name} is light on dark and is inverted (--invert=no if not so)"
            )
        flat = line_art.flatten(drawing, inverted)
        lines, sketch = line_art.line_layer(flat), line_art.model_sketch(flat, *sizes)
        what = item.reference
        reference = _reference(picture_file.read_rgb(item.reference), *sizes)
    # A damaged picture can raise nearly anything out of its decoder.
    except Exception as error:
        outcome.fail(f"{sketch_pairs.readable(what)}: {error or type(error).__name__}")
        return None
    return _Inputs(outcome, 0, lines, sketch, reference)


def _reference(picture: PIL.Image.Image, condition_size: int, image_size: int) -> np.ndarray:
    """Returns the largest centred square as the model sees it, `[S, S, 3]` in [-1, 1]."""
    square = PIL.ImageOps.fit(
        picture, (condition_size, condition_size), PIL.Image.Resampling.LANCZOS
    )
    stored = conditions.from_uint8(jnp.asarray(square))[None]
    return np.asarray(conditions.resize(stored, image_size))[0]


def _compile(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    params: Any,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> ColourBatch:
    """Returns (seeds, sketches, references) of a batch -> coloured pictures, compiled.

    Seeds are uint32 `[B, 3]`: the noise belongs to them alone, not to the place in the batch.
    """
    size = config.data.image_size
    sample = solvers.sample(config, components.noise_schedule(config, workdir))

    def colour_one(
        params: Any, seeds: jax.Array, sketch: jax.Array, reference: jax.Array
    ) -> jax.Array:
        key = jax.random.key(seeds[0])
        for seed in seeds[1:]:
            key = streams.fold_in(key, seed)
        noise = jax.random.normal(streams.fold_in(key, Stream.NOISE), (1, size, size, 3))
        condition = jnp.concatenate([sketch, reference], axis=-1)[None]
        return conditions.to_uint8(
            sample(params, noise, condition, streams.fold_in(key, Stream.SAMPLER))[0]
        )

    split, everywhere = sharding.over_batch(mesh), sharding.replicated(mesh)
    jitted = jax.jit(
        jax.vmap(colour_one, in_axes=(None, 0, 0, 0)),
        in_shardings=(everywhere, split, split, split),
        out_shardings=split,
    )
    seeds = jax.ShapeDtypeStruct((batch_size, 3), jnp.uint32)
    sketch, reference = (
        jax.ShapeDtypeStruct((batch_size, size, size, channels), jnp.float32) for channels in (1, 3)
    )
    compiled = jitted.lower(params, seeds, sketch, reference).compile()

    def colour(*batch: np.ndarray) -> np.ndarray:
        return sharding.fetch(compiled(params, *jax.device_put(batch, split)))

    return colour


def _colour_all(
    colour: ColourBatch,
    inputs: Iterator[_Inputs],
    count: int,
    batch_size: int,
    settings: colorize_jobs.Settings,
) -> None:
    """Colours and writes batch by batch, all of one size."""
    with progress.Progress("colorize", count, unit="picture") as bar:
        while batch := list(itertools.islice(inputs, batch_size)):
            begin = time.monotonic()
            padded = batch + batch[-1:] * (batch_size - len(batch))
            coloured = colour(
                np.array([_seeds(part, settings.seed) for part in padded], np.uint32),
                np.stack([part.sketch for part in padded]),
                np.stack([part.reference for part in padded]),
            )
            seconds = (time.monotonic() - begin) / len(batch)
            for part, picture in zip(batch, coloured, strict=False):
                begin = time.monotonic()
                _write(part, picture, settings)
                part.outcome.seconds += seconds + time.monotonic() - begin
            bar.advance(len(batch))


def _seeds(part: _Inputs, seed: int) -> tuple[int, int, int]:
    """Returns what decides the noise: the seed, the sketch's content and the variant."""
    content = part.outcome.records[part.variant]["sketch"]
    return seed, int(content[:8], 16), part.variant


def _write(part: _Inputs, coloured: np.ndarray, settings: colorize_jobs.Settings) -> None:
    """Brings a result to the drawing's size and saves it."""
    outcome, variant = part.outcome, part.variant
    if settings.lines == "keep":
        result = colour_layer.colour_lines(part.lines, coloured, part.sketch)
    else:
        bicubic = PIL.Image.Resampling.BICUBIC
        result = colour_layer.enlarge(coloured, part.lines.size, bicubic)
    try:
        if jax.process_index() == 0:
            colorize_files.save_result(outcome.results[variant], result, outcome.records[variant])
    except OSError as error:
        outcome.fail(f"{outcome.results[variant]} cannot be written: {error.strerror or error}")
    if outcome.status != "failed":
        outcome.status = "done"
