r"""AnimeDiffusion (Cao et al. 2024, arXiv 2303.11137): DDPM with 1,000 linear betas.

    python -m ssimbad_jax.main --config=configs/anime_diffusion.py --config.data.dir=PICTURES

The network predicts the noise, is told the index of the noise level, and samples with
DDIM. Fine-tuning goes through ten steps of DDIM from pure noise, as in SSIMBaD's comparison;
`--config.refine.start=target` starts them from the encoded target, AnimeDiffusion's own way.
Published scores at 256 px (SSIMBaD, table 1), PSNR same / cross: pretrained 11.39 / 11.39,
fine-tuned 13.32 / 12.52.
"""

import ml_collections

from ssimbad_jax.configs import edm_ssimbad


def get_config() -> ml_collections.ConfigDict:
    """Returns the paper's configuration with AnimeDiffusion's diffusion."""
    config = edm_ssimbad.get_config()
    config.diffusion.schedule = "ddpm"
    config.diffusion.preconditioning = "noise"
    config.train.loss_weighting = "edm"
    config.refine.sampler = "ddim"
    config.refine.sampler_steps = 10
    config.refine.grid_steps = 0
    config.refine.clip_denoised = True
    config.eval.sampler = "ddim"
    config.eval.sampler_steps = 50
    config.eval.clip_denoised = True
    return config
