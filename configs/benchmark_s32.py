r"""The 32 px benchmark: a whole run on two CPU cores in about half an hour.

    python -m ssimbad_jax.main --config=configs/benchmark_s32.py \
        --config.data.dir=PICTURES --config.eval.pairs=pairs32.npz

The paper's recipe at 1,500 steps of batch 32 = 48,000 samples; with
`--config=configs/benchmark_s32.py:edm` that of `configs/edm.py`, and so with
every other config. The README has the scores.
"""

import importlib

import ml_collections


def get_config(method: str = "edm_ssimbad") -> ml_collections.ConfigDict:
    """Returns a configuration at 32 px and a small budget.

    Args:
        method: name of the config whose recipe it is.
    """
    module = importlib.import_module(f"ssimbad_jax.configs.{method}")
    config: ml_collections.ConfigDict = module.get_config()
    config.data.image_size = 32
    config.model.base_channels = 32
    config.model.channel_multipliers = (1, 2, 4)
    config.train.steps = 1500
    config.train.batch_size = 32
    config.train.warmup_steps = 75
    config.train.final_learning_rate = 0.0
    config.train.validate_every = 250
    config.train.sample_every = 500
    config.train.checkpoint_every = 250
    config.refine.enabled = False  # a command of its own: --stages=refine,evaluate
    config.refine.sampler_steps = min(10, config.refine.sampler_steps)
    config.refine.steps = 600
    config.refine.batch_size = 8
    config.refine.validate_every = 100
    config.refine.sample_every = 300
    config.refine.checkpoint_every = 100
    config.eval.batch_size = 40
    return config
