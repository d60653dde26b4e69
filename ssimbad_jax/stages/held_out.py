"""What a training shows of itself on held-out pictures: validation losses and picture grids."""

import pathlib
from collections.abc import Callable, Mapping

import jax
import numpy as np

from ssimbad_jax.data import conditions, pipeline
from ssimbad_jax.stages import pictures, solvers
from ssimbad_jax.training import sharding
from ssimbad_jax.training import state as state_lib

GRID_PICTURES = 8

Batch = Mapping[str, jax.Array]


def make_batch(validation: pipeline.Records, mesh: jax.sharding.Mesh) -> dict[str, jax.Array]:
    """Returns the fixed batch that validation losses and picture grids are made of."""
    batch = next(iter(pipeline.eval_batches(validation, batch_size=len(validation))))
    kept = {name: batch[name] for name in ("image", "sketch") if name in batch}
    # The same pictures whatever the number of devices: what does not divide among them is copied.
    divides = len(validation) % mesh.size == 0
    return jax.device_put(kept, sharding.over_batch(mesh) if divides else sharding.replicated(mesh))


def validator(
    draw: state_lib.DrawFn, loss_fn: state_lib.LossFn, key: jax.Array, batch: Batch
) -> Callable[[state_lib.TrainState], float]:
    """Returns the mean loss of the averaged parameters, with everything random frozen.

    Args:
        draw: makes examples of a batch.
        loss_fn: loss of each example.
        key: what is random is drawn with.
        batch: held-out pictures.
    """
    examples = jax.jit(draw)(key, batch)
    mean_loss = jax.jit(lambda params, examples: loss_fn(params, examples).mean())
    return lambda state: float(mean_loss(state.ema_params, examples))


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
        batch: held-out pictures, of which the first are shown.
        folder: takes the grids.
    """
    of_examples, of_sampler = keys
    jitted = jax.jit(sample)
    examples = jax.jit(draw)(of_examples, batch)
    shown = jax.tree.map(
        lambda x: sharding.fetch(x)[:GRID_PICTURES],
        {name: getattr(examples, name) for name in ("image", "condition", "noise")},
    )

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
