"""What checkpoints cost a training: the same steps with and without them, side by side."""

import pathlib
import tempfile
import time
from typing import NamedTuple

import jax
import ml_collections

from ssimbad_jax.stages import components, step_cost
from ssimbad_jax.training import checkpoint


class Seconds(NamedTuple):
    """Seconds of parts of a training, each of as many steps.

    Attributes:
        without: without a checkpoint.
        with_one: with a checkpoint, until it is on the disk.
    """

    without: list[float]
    with_one: list[float]


def measure(
    config: ml_collections.ConfigDict, mesh: jax.sharding.Mesh, steps: int, rounds: int
) -> Seconds:
    """Trains on random pictures, with a checkpoint every other time.

    Args:
        config: see `configs/edm_ssimbad.py`.
        mesh: the devices.
        steps: between checkpoints.
        rounds: how often to measure both.
    """
    step, state, batch, key = step_cost.ready_to_train(config, mesh)
    seconds = Seconds([], [])
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = checkpoint.Checkpoints(pathlib.Path(folder), keep=1)
        # The first round compiles, and makes Orbax's threads.
        for number in range(-1, rounds):
            for saves, taken in enumerate(seconds):
                begin = time.perf_counter()
                for count in range(steps if number >= 0 else 1):
                    if saves and count == 0:
                        # At the beginning, so that the writing goes on beside the steps.
                        checkpoints.save(
                            state,
                            samples=0,
                            run_config=components.as_json(config),
                            validation_loss=None,
                        )
                    state, _ = step(state, batch, key)
                    checkpoints.check()
                jax.block_until_ready(state)
                checkpoints.wait()
                if number >= 0:
                    taken.append(time.perf_counter() - begin)
        checkpoints.close()
    return seconds
