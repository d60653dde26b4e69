"""Reference-based colouring of anime line art with an SSIM-calibrated diffusion model."""

__version__ = "0.1.0"
