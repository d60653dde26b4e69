"""How long a run will take after its training, from the time that steps take.

Counted in calls of the network for one picture. A step of training is worth three for each: one
forward, and backward twice as much. Refinement makes each call of its solver a second time on the
way back, so that each is worth four.
"""

from collections.abc import Collection

import ml_collections

from ssimbad_jax.data import pairs, pipeline
from ssimbad_jax.stages import components, solvers

_CALLS_OF_TRAINING, _CALLS_OF_REFINEMENT = 3, 4


def seconds_after(
    stage: str,
    config: ml_collections.ConfigDict,
    following: Collection[str],
    seconds_per_step: float,
    num_training: int,
    num_devices: int,
) -> dict[str, float]:
    """Returns the seconds of what follows a training.

    Args:
        stage: "train" or "refine", which is under way.
        config: see `configs/edm_ssimbad.py`.
        following: the stages to come.
        seconds_per_step: that a step of the stage takes.
        num_training: training pictures.
        num_devices: devices that the stage uses.

    Returns:
        Seconds by what is done, in its order: "refinement" and "scoring", if they are to come.
    """
    of_call = seconds_per_step / _calls_of_step(stage, config)
    after = {}
    if "refine" in following:
        steps = components.total_steps(config.refine, num_training)
        # Batches of refinement may be too small for all devices.
        size = config.refine.batch_size // config.refine.accumulate
        busy = next(count for count in range(num_devices, 0, -1) if size % count == 0)
        calls = steps * _calls_of_step("refine", config)
        after["refinement"] = of_call * calls * num_devices / busy
    if "evaluate" in following:
        is_refined = stage == "refine" or "refine" in following
        calls = len(pairs.SETTINGS) * _num_scored(config) * _calls_of_scoring(config, is_refined)
        after["scoring"] = of_call * calls
    return after


def _calls_of_step(stage: str, config: ml_collections.ConfigDict) -> int:
    if stage == "train":
        return config.train.batch_size * _CALLS_OF_TRAINING
    return config.refine.batch_size * _calls_of_walk(config.refine) * _CALLS_OF_REFINEMENT


def _calls_of_scoring(config: ml_collections.ConfigDict, is_refined: bool) -> int:
    walk = _calls_of_walk(
        config.refine if is_refined and config.eval.refined_solver else config.eval
    )
    return config.eval.num_seeds * (walk + config.eval.posterior_draws)


def _calls_of_walk(settings: ml_collections.ConfigDict) -> int:
    return solvers.SOLVERS[settings.sampler].network_calls(settings.sampler_steps)


def _num_scored(config: ml_collections.ConfigDict) -> int:
    if config.eval.pairs:
        path = components.local(config, config.eval.pairs)
        count = len(pairs.load(path, config.data.image_size).gt)
    else:
        count = len(pipeline.open_source(components.data_builder(config), "test"))
    return min(count, config.eval.max_images or count)
