"""A run small enough to be made in seconds, for the tests of the stages."""

import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import components, weights
from ssimbad_jax.training import checkpoint, optimizer, sharding
from ssimbad_jax.training import state as state_lib

IMAGE_SIZE = 16
TEST_IMAGES = 11  # no multiple of a batch
STEPS = 24
CHECKPOINT_EVERY = 8

# As flags of main: `--config.data.image_size=16`.
FIELDS = {
    "data.image_size": IMAGE_SIZE,
    "data.condition_size": 32,
    "data.toy_faces_train": 40,
    "data.toy_faces_test": TEST_IMAGES,
    "model.base_channels": 8,
    "model.channel_multipliers": (1, 2),
    "model.num_res_blocks": 1,
    "model.num_heads": 2,
    "model.num_groups": 4,
    "calibrate.num_images": 4,
    "calibrate.num_sigmas": 24,
    "calibrate.num_draws": 1,
    "train.steps": STEPS,
    "train.batch_size": 8,
    "train.warmup_steps": 1,
    "train.learning_rate": 1e-3,
    "train.log_every": 5,
    "train.validate_every": 5,
    "train.sample_every": 12,
    "train.checkpoint_every": CHECKPOINT_EVERY,
    "train.keep_checkpoints": 3,
    "refine.enabled": False,
    "refine.sampler_steps": 3,
    "refine.grid_steps": 6,
    "refine.steps": 6,
    "refine.batch_size": 8,
    "refine.log_every": 2,
    "refine.validate_every": 3,
    "refine.sample_every": 6,
    "refine.checkpoint_every": 3,
    "eval.sampler": "euler",
    "eval.sampler_steps": 2,
    "eval.batch_size": 8,
    # The others are tested in evaluate_test and scores_test.
    "eval.metrics": ("psnr", "ssim"),
}


class TinyRun(NamedTuple):
    """A finished run."""

    config: ml_collections.ConfigDict
    workdir: pathlib.Path


def make_config(prepared_dir: pathlib.Path, **fields: Any) -> ml_collections.ConfigDict:
    """Returns the tiny config; `train__steps=3` sets `train.steps`."""
    config = edm_ssimbad.get_config()
    config.update_from_flattened_dict(FIELDS)
    config.data.prepared_dir = str(prepared_dir)
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return config


def restore(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, step: int
) -> tuple[state_lib.TrainState, int]:
    """Returns the state of a checkpoint and the number of the next training sample."""
    tx = optimizer.make_optimizer(components.optimizer_settings(config.train, num_images=1))
    like = jax.eval_shape(
        lambda key: state_lib.init_state(components.init_params(config, key), tx),
        jax.random.key(0),
    )
    everywhere = sharding.replicated(sharding.data_mesh(jax.devices()[:1]))
    checkpoints = checkpoint.Checkpoints(workdir / weights.FOLDERS["pretrain"])
    try:
        state, samples, _ = checkpoints.restore(step, components.with_sharding(like, everywhere))
    finally:
        checkpoints.close()
    return state, samples
