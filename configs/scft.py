r"""SCFT (Lee et al. 2020, arXiv 2005.05207): a GAN that colours in one call.

    python -m ssimbad_jax.main --config=configs/scft.py --config.data.dir=PICTURES

The sketch attends to the reference, which is the target with shifted colours and a warp. The loss
is that of the paper with its weights: absolute error, adversarial, perceptual, style, and a triplet
term on the attention. Unlike the paper, one AdamW with one learning rate steps both networks, and
scores are those of averaged weights. Published scores at 256 px (SSIMBaD, table 1), PSNR same /
cross: 17.17 / 15.47.
"""

import ml_collections

from ssimbad_jax.configs import regression


def get_config() -> ml_collections.ConfigDict:
    """Returns the regression's configuration with SCFT's network, data and loss."""
    config = regression.get_config()
    config.data.colour_jitter = 0.2
    config.model.name = "scft"
    config.model.num_heads = 1
    config.model.num_groups = 8
    config.train.loss = "scft"
    config.train.clip_norm = 100.0  # the terms are large; the paper does not clip
    return config
