"""What a training shows of itself on held-out pictures: validation losses and picture grids."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssimbad_jax import streams
from ssimbad_jax.data import conditions, pipeline
from ssimbad_jax.stages import pictures, solvers
from ssimbad_jax.training import sharding
from ssimbad_jax.training import state as state_lib

GRID_PICTURES = 8

Batch = Mapping[str, jax.Array]


def make_batches(
    validation: pipeline.Records, batch_size: int, mesh: jax.sharding.Mesh
) -> list[Batch]:
    """Returns the held-out pictures in batches that fit where a training's do.

    Args:
        validation: the pictures.
        batch_size: the most that are worked on at once; a multiple of the devices.
        mesh: the devices.

    Returns:
        Batches of one size, `image`, `sketch` where there are sketches, and `mask`, which is False
        where a picture is there only to fill the last batch.
    """
    batch_size = min(batch_size, -(-len(validation) // mesh.size) * mesh.size)
    return [
        jax.device_put(
            {name: batch[name] for name in ("image", "sketch", "mask") if name in batch},
            sharding.over_batch(mesh),
        )
        for batch in pipeline.eval_batches(validation, batch_size=batch_size)
    ]


def validator(
    draw: state_lib.DrawFn, loss_fn: state_lib.LossFn, key: jax.Array, batches: Sequence[Batch]
) -> Callable[[state_lib.TrainState], float]:
    """Returns the mean loss of the averaged parameters, with everything random frozen.

    Args:
        draw: makes examples of a batch.
        loss_fn: loss of each example.
        key: what is random is drawn with, a stream of it for each batch.
        batches: see `make_batches`.
    """

    @jax.jit
    def sums(params: Any, number: jax.Array, batch: Batch) -> tuple[jax.Array, jax.Array]:
        pictures = {name: array for name, array in batch.items() if name != "mask"}
        losses = loss_fn(params, draw(streams.fold_in(key, number), pictures))
        return jnp.where(batch["mask"], losses, 0.0).sum(), batch["mask"].sum()

    def mean_loss(state: state_lib.TrainState) -> float:
        parts = [sums(state.ema_params, n, batch) for n, batch in enumerate(batches)]
        totals, counts = np.asarray(jax.device_get(parts), np.float64).T
        return float(totals.sum() / counts.sum())

    return mean_loss


def first_batch(validation: pipeline.Records, mesh: jax.sharding.Mesh) -> Batch:
    """Returns the held-out pictures that grids show, `image` and `sketch` where there are."""
    count = min(GRID_PICTURES, len(validation))
    batch = next(iter(pipeline.eval_batches(validation, batch_size=count, max_images=count)))
    kept = {name: batch[name] for name in ("image", "sketch") if name in batch}
    return jax.device_put(kept, sharding.replicated(mesh))


def picture_path(folder: pathlib.Path, step: int) -> pathlib.Path:
    """Returns where the grid of a step is, or will be."""
    return folder / f"{step:08d}.png"


def lacks_pictures(folder: pathlib.Path, step: int) -> bool:
    """Returns whether the grid of a step is missing, the same on all hosts."""
    is_missing = jax.process_index() == 0 and not picture_path(folder, step).exists()
    return sharding.on_any_host(is_missing)


def picture_drawer(
    draw: state_lib.DrawFn,
    sample: solvers.Sample,
    keys: tuple[jax.Array, jax.Array],
    batch: Batch,
    folder: pathlib.Path,
) -> Callable[[state_lib.TrainState], None]:
    """Returns a function that colours held-out sketches from fixed noise and saves the grid.

    Args:
        draw: makes examples of a batch; has `image`, `condition` and `noise`.
        sample: draws the pictures.
        keys: of the examples and of the sampler.
        batch: the pictures that are shown, see `first_batch`.
        folder: takes the grids.
    """
    of_examples, of_sampler = keys
    jitted = jax.jit(sample)
    examples = jax.jit(draw)(of_examples, batch)
    shown = {
        name: sharding.fetch(getattr(examples, name)) for name in ("image", "condition", "noise")
    }

    def draw_pictures(state: state_lib.TrainState) -> None:
        if jax.process_index() > 0:
            return
        params = jax.tree.map(np.asarray, state.ema_params)
        condition = shown["condition"]
        result = jitted(params, shown["noise"], condition, of_sampler)
        columns = [condition[..., :1], condition[..., 1:], result, shown["image"]]
        pictures.save_grid(
            picture_path(folder, int(state.step)),
            [np.asarray(conditions.to_uint8(column)) for column in columns],
            titles=["sketch", "reference", "result", "target"],
        )

    return draw_pictures
