"""The golden networks: weights defined by their names, and the arrays computed with them."""

import json
import pathlib
import zlib
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ssimbad_jax.diffusion import denoiser, schedule, sigma_scale
from ssimbad_jax.models import official_unet
from ssimbad_jax.models import unet as unet_lib


class GoldenNetwork(NamedTuple):
    """A network, its parameters and what the official code computed with them."""

    unet: unet_lib.UNet
    params: dict[str, Any]
    arrays: dict[str, np.ndarray]
    description: dict[str, Any]
    image: jnp.ndarray
    condition: jnp.ndarray
    noise: jnp.ndarray

    def denoise(self, params, noisy, sigma):
        """The preconditioned D with the paper's scale."""
        return denoiser.denoise(
            lambda x, c_noise: self.unet.apply({"params": params}, x, c_noise),
            noisy,
            sigma,
            self.condition,
            embed_sigma=sigma_scale.rational(self.description["c"]).forward,
            precondition=denoiser.karras(self.description["sigma_data"]),
        )


def defined_weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Draws every parameter from its name, by the rule of the golden values."""
    weights = {}
    for name, shape in shapes.items():
        generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
        n = generator.standard_normal(shape).astype(np.float32)
        if n.ndim > 1:
            weights[name] = n / np.sqrt(np.prod(shape[1:]), dtype=np.float32)
        elif name.endswith("weight"):
            weights[name] = 1 + np.float32(0.1) * n
        else:
            weights[name] = np.float32(0.1) * n
    return weights


def described_unet(description: dict[str, Any]) -> unet_lib.UNet:
    """Returns the module whose official sizes a description states."""
    sizes = description["unet"]
    return unet_lib.UNet(
        base_channels=sizes["channel_base"],
        channel_multipliers=tuple(sizes["channel_mult"]),
        num_res_blocks=sizes["n_res_blocks"],
        num_heads=sizes["attention_head"],
        cbam=sizes["cbam"],
        out_channels=sizes["channel_out"],
    )


def load(golden: pathlib.Path, name: str) -> GoldenNetwork:
    """Loads `denoiser` or `denoiser_cbam`."""
    description = json.loads((golden / f"{name}.json").read_text())
    unet = described_unet(description)
    with np.load(golden / f"{name}.npz") as file:
        arrays = dict(file)
    return GoldenNetwork(
        unet=unet,
        params=official_unet.unet_params(defined_weights(description["params"]), unet),
        arrays=arrays,
        description=description,
        image=jnp.asarray(arrays["image"]),
        condition=jnp.asarray(arrays["cond"]),
        noise=jnp.asarray(arrays["noise"]),
    )


def assert_close(actual, expected, tolerance: float) -> None:
    """Asserts equality relative to the largest expected value."""
    expected = np.asarray(expected)
    difference = np.abs(np.asarray(actual) - expected).max()
    assert difference <= tolerance * np.abs(expected).max()


def load_anime_diffusion(golden: pathlib.Path) -> GoldenNetwork:
    """Loads the DDPM baseline: the network of `denoiser`, which predicts noise here."""
    network = load(golden, "denoiser")
    with np.load(golden / "anime_diffusion.npz") as file:
        arrays = dict(file)
    image, condition, noise = (jnp.asarray(arrays[name]) for name in ("image", "cond", "noise"))
    return network._replace(arrays=arrays, image=image, condition=condition, noise=noise)


def denoise_by_noise_prediction(case: GoldenNetwork, params, noisy, sigma):
    """D of the DDPM baseline, made of its estimate of the noise."""
    return denoiser.denoise(
        lambda x, c_noise: case.unet.apply({"params": params}, x, c_noise),
        noisy,
        sigma,
        case.condition,
        embed_sigma=schedule.ddpm().embed_sigma,
        precondition=denoiser.noise_prediction,
    )
