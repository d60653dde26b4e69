r"""EDM (Karras et al. 2022, arXiv 2206.00364): three unrelated scales in place of SSIMBaD's one.

    python -m ssimbad_jax.main --config=configs/edm.py --config.data.dir=PICTURES

Noise levels are log-normal in training, told as (ln sigma) / 4, and walked evenly in
sigma^(1/7); the loss is weighted by 1 / c_out^2. All else is the paper's configuration.
"""

import ml_collections

from ssimbad_jax.configs import edm_ssimbad


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's configuration with EDM's schedule and weighting."""
    config = edm_ssimbad.get_config()
    config.diffusion.schedule = "edm"
    config.train.loss_weighting = "edm"
    config.refine.enabled = False
    return config
