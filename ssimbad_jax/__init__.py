"""Reference-based colouring of anime line art with an SSIM-calibrated diffusion model."""

import pathlib

__version__ = "0.1.0"

# `ssimbad_jax.configs` is a folder of the package where it is installed, and the folder beside it
# in a checkout, which is the place to read and edit.
_checkout = pathlib.Path(__file__).resolve().parents[1]
if (_checkout / "configs" / "edm_ssimbad.py").is_file():
    __path__.append(str(_checkout))
