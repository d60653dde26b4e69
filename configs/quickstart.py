"""A first look: the whole job on the built-in faces, on two CPU cores, in under 15 minutes.

    make quickstart

or, with one's own pictures,

    python -m ssimbad_jax.main --config=configs/quickstart.py --config.data.dir=PICTURES
"""

import ml_collections

from ssimbad_jax.configs import edm_ssimbad


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's configuration cut down to minutes."""
    config = edm_ssimbad.get_config()
    config.data.image_size = 32
    config.data.condition_size = 128
    config.data.toy_faces_train = 2000
    config.data.toy_faces_test = 64
    config.model.base_channels = 32
    config.model.channel_multipliers = (1, 2, 4)
    config.model.num_groups = 8
    config.calibrate.num_images = 32
    config.train.steps = 1200
    config.train.batch_size = 16
    config.train.learning_rate = 4e-4
    config.train.validate_every = 300
    config.train.validation_images = 32
    config.train.sample_every = 300
    config.train.checkpoint_every = 300
    config.refine.enabled = False
    config.refine.sampler_steps = 3
    config.refine.steps = 200
    config.refine.batch_size = 8
    config.refine.validate_every = 50
    config.refine.sample_every = 100
    config.refine.checkpoint_every = 100
    config.eval.sampler = "euler"
    # Few and long steps leave less of the noise that so young a network cannot remove.
    config.eval.sampler_steps = 3
    config.eval.grid_steps = 50
    config.eval.batch_size = 32
    # All but LPIPS with VGG16, which alone would take half a minute.
    config.eval.metrics = tuple(name for name in config.eval.metrics if name != "lpips_vgg")
    return config
