r"""Regression: the paper's network predicts the target directly, in one call.

    python -m ssimbad_jax.main --config=configs/regression.py --config.data.dir=PICTURES

It sees the sketch and the reference, no noisy image and no noise level, and minimises the
squared error: the floor for any claim about diffusion here.
"""

import ml_collections

from ssimbad_jax.configs import edm_ssimbad


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's configuration for a network that answers at once."""
    config = edm_ssimbad.get_config()
    config.diffusion.schedule = "single"
    config.diffusion.preconditioning = "image"
    config.refine.enabled = False
    config.refine.sampler_steps = 1
    config.refine.grid_steps = 0
    config.eval.sampler = "euler"
    config.eval.sampler_steps = 1
    return config
