"""Official files of the golden networks: their defined weights, saved as the official code does."""

import json

import numpy as np

from tests import golden_network, torch_files

# What the official command parses, as far as it matters.
OPTIONS = {
    "channel_mult": [1, 2],
    "attention_head": 4,
    "cbam": False,
    "size": 16,
    "inference_time_step": 12,
    "sigma_min": 0.002,
    "sigma_max": 80,
    "sigma_data": 0.5,
    "S_churn": 0,
    "c": 0.3,
    "gpus": [0, 1],
}


def unet_weights(golden, name="denoiser"):
    """By the official names, as float32."""
    description = json.loads((golden / f"{name}.json").read_text())
    return golden_network.defined_weights(description["params"])


def noise_levels(steps=12, c=0.3, sigma_min=0.002, sigma_max=80.0):
    """The official buffer: even in s / (s + c), in float32, down to 0."""
    low, high = (np.float32(s / (s + c)) for s in (sigma_min, sigma_max))
    phi = low + (high - low) * (np.arange(steps, dtype=np.float32) / np.float32(steps - 1))
    levels = np.float32(c) * phi / (1 - phi)
    return np.append(levels[::-1], 0).astype(np.float32)


def lightning_state(weights, levels=None):
    """The `state_dict` of the official LightningModule."""
    levels = noise_levels() if levels is None else levels
    named = {f"model.denoise_fn.{name}": array for name, array in weights.items()}
    return {"model.inference_time_steps": levels, **named}


def write_pretrained(path, weights, levels=None, **options):
    """A checkpoint of the official pretraining, its options in a Namespace."""
    settings = torch_files.Object("argparse.Namespace", OPTIONS | options)
    state = lightning_state(weights, levels)
    torch_files.write_checkpoint(path, torch_files.lightning(state, settings))


def write_refined(path, weights, levels=None, **options):
    """A checkpoint of the official refinement: its loss holds the network again, and LPIPS."""
    state = lightning_state(weights, levels)
    repeated = {f"loss_fn.{name}": array for name, array in state.items()}
    lpips = {"loss_fn.lpips_loss.net.slice1.0.weight": np.ones((2, 3, 3, 3), np.float32)}
    settings = OPTIONS | {"finetuning_inference_time_step": 9, "strategy": "lpips-vgg"} | options
    content = torch_files.lightning(state | repeated | lpips, settings)
    torch_files.write_checkpoint(path, content)
