"""What a config describes, built: data, network, schedule, denoiser, optimiser.

Each function turns a part of the ConfigDict into plain arguments for the code below the stages.
"""

import functools
import json
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import tensorflow_datasets as tfds
from flax import linen as nn

from ssimbad_jax.data import anime_face, bucket, conditions, hold_out, pipeline, toy_face
from ssimbad_jax.diffusion import denoiser, losses, schedule, sigma_scale
from ssimbad_jax.models import scft as scft_lib
from ssimbad_jax.models import unet as unet_lib
from ssimbad_jax.stages import calibrate
from ssimbad_jax.training import optimizer, sharding

CONFIG = "config.json"

DenoiseWithParams = Callable[..., jax.Array]


def prepared_dir(config: ml_collections.ConfigDict) -> pathlib.Path:
    """Returns the folder where built data sets are kept."""
    if config.data.prepared_dir:
        return pathlib.Path(config.data.prepared_dir).expanduser()
    return pathlib.Path.home() / ".cache" / "ssimbad_jax"


def local(config: ml_collections.ConfigDict, place: str) -> pathlib.Path:
    """Returns where a file or folder lies on this machine's disks.

    Args:
        config: says where copies are kept of what lies in a bucket.
        place: a path, or an address such as gs://bucket/faces.

    Raises:
        FileNotFoundError: there is nothing at the address.
        BucketError: it cannot be read.
    """
    if bucket.is_address(place):
        return bucket.fetch(place, prepared_dir(config) / "fetched")
    return pathlib.Path(place).expanduser()


def data_builder(config: ml_collections.ConfigDict) -> tfds.core.DatasetBuilder:
    """Returns the prepared data set: the pictures of `data.dir`, or the built-in faces."""
    data, kept_in = config.data, prepared_dir(config)
    with sharding.first_host_first("prepare data"):
        if data.dir:
            return anime_face.prepare(
                local(config, data.dir),
                kept_in,
                size=data.condition_size,
                max_bad_fraction=data.max_bad_fraction,
            )
        return toy_face.prepare(
            kept_in,
            train=data.toy_faces_train,
            test=data.toy_faces_test,
            size=data.condition_size,
            seed=config.seed,
        )


def unet(config: ml_collections.ConfigDict) -> unet_lib.UNet:
    """Returns the U-Net of the config."""
    model = config.model
    return unet_lib.UNet(num_heads=model.num_heads, cbam=model.cbam, **_sizes(config))


def scft(config: ml_collections.ConfigDict) -> scft_lib.SCFT:
    """Returns the SCFT of the config."""
    return scft_lib.SCFT(**_sizes(config))


def _sizes(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns what all networks have."""
    model = config.model
    return {
        "base_channels": model.base_channels,
        "channel_multipliers": tuple(model.channel_multipliers),
        "num_res_blocks": model.num_res_blocks,
        "num_groups": model.num_groups,
        "dtype": jnp.dtype(model.compute_dtype),
    }


# Networks by `model.name`. All are called with `[B, H, W, 7]` (noisy image, sketch, reference) and
# c_noise `[B]`, and return `[B, H, W, 3]`.
NETWORKS: dict[str, Callable[[ml_collections.ConfigDict], nn.Module]] = {
    "unet": unet,
    "scft": scft,
}


def network(config: ml_collections.ConfigDict) -> nn.Module:
    """Returns the network that `model.name` means."""
    return NETWORKS[config.model.name](config)


def init_params(config: ml_collections.ConfigDict, key: jax.Array) -> Any:
    """Returns freshly drawn parameters."""
    size = config.data.image_size
    x = jnp.zeros((1, size, size, unet_lib.INPUT_CHANNELS))
    return network(config).init(key, x, jnp.zeros((1,)))["params"]


def abstract_params(config: ml_collections.ConfigDict, where: jax.sharding.Sharding) -> Any:
    """Returns shapes, dtypes and sharding of the parameters, without allocating them."""
    params = jax.eval_shape(functools.partial(init_params, config), jax.random.key(0))
    return with_sharding(params, where)


def with_sharding(tree: Any, where: jax.sharding.Sharding) -> Any:
    """Returns the shapes and dtypes of `tree`, all with one sharding."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), tree)


SCHEDULES: dict[str, Callable[[ml_collections.ConfigDict, pathlib.Path], schedule.Schedule]] = {
    "ssimbad": lambda config, workdir: schedule.ssimbad(
        sigma_scale_of_run(config, workdir), config.diffusion.sigma_min, config.diffusion.sigma_max
    ),
    "edm": lambda config, workdir: schedule.edm(
        config.diffusion.sigma_min, config.diffusion.sigma_max
    ),
    "ddpm": lambda config, workdir: schedule.ddpm(
        config.diffusion.num_levels, config.diffusion.beta_first, config.diffusion.beta_last
    ),
    "single": lambda config, workdir: schedule.single(config.diffusion.sigma_max),
}


def noise_schedule(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> schedule.Schedule:
    """Returns the schedule of `diffusion.schedule`; SSIMBaD's scale is that of the calibration."""
    return SCHEDULES[config.diffusion.schedule](config, workdir)


def sigma_scale_of_run(
    config: ml_collections.ConfigDict, workdir: pathlib.Path
) -> sigma_scale.SigmaScale:
    """Returns phi: the rational scale of `calibrate.c`, or the one that calibration chose.

    Raises:
        FileNotFoundError: the scale is to come from a calibration that was not run.
        ValueError: the calibration is damaged, or does not fit the config.
    """
    if config.calibrate.scale == "rational":
        return sigma_scale.rational(config.calibrate.c)
    return calibrate.chosen_scale(config, workdir)


PRECONDITIONINGS: dict[str, Callable[[float], denoiser.Precondition]] = {
    "edm": denoiser.karras,
    "noise": lambda sigma_data: denoiser.noise_prediction,
    "image": lambda sigma_data: denoiser.image_prediction,
}


def precondition(config: ml_collections.ConfigDict) -> denoiser.Precondition:
    """Returns the scalings of `diffusion.preconditioning`."""
    return PRECONDITIONINGS[config.diffusion.preconditioning](config.diffusion.sigma_data)


def denoise_with_params(
    config: ml_collections.ConfigDict, noise_schedule: schedule.Schedule
) -> DenoiseWithParams:
    """Returns D as a function of (params, noisy, sigma, condition)."""
    module, scalings = network(config), precondition(config)

    def denoise(params: Any, noisy: jax.Array, sigma: jax.Array, condition: jax.Array) -> jax.Array:
        def apply(x: jax.Array, c_noise: jax.Array) -> jax.Array:
            return jnp.asarray(module.apply({"params": params}, x, c_noise))

        return denoiser.denoise(
            apply,
            noisy,
            sigma,
            condition,
            embed_sigma=noise_schedule.embed_sigma,
            precondition=scalings,
        )

    return denoise


def weighting(config: ml_collections.ConfigDict) -> losses.Weighting:
    """Returns the weight of the loss as a function of sigma."""
    if config.train.loss_weighting == "edm":
        return losses.output_weighting(precondition(config))
    return losses.uniform_weighting


def total_steps(section: ml_collections.ConfigDict, num_images: int) -> int:
    """Returns the steps of a training: its `steps`, or what its `epochs` make.

    Args:
        section: `config.train` or `config.refine`.
        num_images: training pictures.
    """
    if section.steps:
        return section.steps
    return max(1, section.epochs * num_images // section.batch_size)


def optimizer_settings(
    section: ml_collections.ConfigDict, num_images: int
) -> optimizer.OptimizerSettings:
    """Returns the optimiser's settings; a warm-up of -1 is one epoch. See `total_steps`."""
    steps = total_steps(section, num_images)
    warmup = section.warmup_steps
    if warmup < 0:
        warmup = min(max(1, num_images // section.batch_size), steps // 2)
    return optimizer.OptimizerSettings(
        learning_rate=section.learning_rate,
        final_learning_rate=section.final_learning_rate,
        warmup_steps=warmup,
        total_steps=steps,
        weight_decay=section.weight_decay,
        clip_norm=section.clip_norm,
    )


def training_split(config: ml_collections.ConfigDict) -> tuple[hold_out.Subset, hold_out.Subset]:
    """Returns the pictures to train on and those held out of the training split."""
    source = pipeline.open_source(data_builder(config), "train")
    count = hold_out.validation_count(config.train.validation_images, len(source))
    return hold_out.hold_out(source, count, config.seed)


def calibration_pictures(config: ml_collections.ConfigDict) -> tuple[np.ndarray, str]:
    """Returns the training pictures to measure, uint8 `[N, H, W, 3]`, and the data's fingerprint.

    They have the model's size: what is measured is what the model will see.
    """
    source, _ = training_split(config)
    count = min(config.calibrate.num_images, len(source))
    stored = jnp.stack([source[index]["image"] for index in range(count)])
    resized = conditions.resize(conditions.from_uint8(stored), config.data.image_size)
    return np.asarray(conditions.to_uint8(resized)), source.fingerprint


def save_config(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Writes the config of a run, for whoever uses its weights; an equal file stays untouched."""
    path, text = workdir / CONFIG, json.dumps(as_json(config), indent=2)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def as_json(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the config in plain JSON types."""
    return json.loads(config.to_json())
