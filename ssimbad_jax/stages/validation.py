"""Refuses configs that cannot work, before anything runs."""

import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from ssimbad_jax import choices
from ssimbad_jax.data import bucket, picture_folder, warp
from ssimbad_jax.metrics import ssim
from ssimbad_jax.models import unet
from ssimbad_jax.stages import (
    components,
    guided_denoiser,
    refine,
    remote,
    scft_loss,
    scores,
    solvers,
    train,
    training_checks,
)

CHOICES = {
    "data.warp": warp.KINDS,
    "model.compute_dtype": choices.COMPUTE_DTYPES,
    "model.name": tuple(components.NETWORKS),
    "diffusion.schedule": tuple(components.SCHEDULES),
    "diffusion.preconditioning": tuple(components.PRECONDITIONINGS),
    "calibrate.scale": ("rational", "best", "table"),
    "train.loss": tuple(train.LOSSES),
    "train.loss_weighting": ("uniform", "edm"),
    "refine.checkpoint": choices.CHECKPOINTS,
    "refine.start": tuple(refine.STARTS),
    "refine.sampler": tuple(solvers.SOLVERS),
    "eval.weights": choices.WEIGHTS,
    "eval.sampler": tuple(solvers.SOLVERS),
    "eval.checkpoint": choices.CHECKPOINTS,
}

# Smallest value of each number; fields that are not named may be any number.
AT_LEAST = {
    "seed": 0,
    "data.image_size": ssim.GAUSSIAN_WINDOW,  # results are scored with it
    "data.condition_size": 32,
    "data.colour_jitter": 0,
    "data.max_bad_fraction": 0,
    "data.num_workers": 0,
    "data.toy_faces_train": 2,  # one is held out
    "data.toy_faces_test": 2,
    "model.base_channels": 1,
    "model.num_res_blocks": 1,
    "model.num_heads": 1,
    "model.num_groups": 1,
    "calibrate.num_images": 1,
    "calibrate.num_sigmas": 16,
    "calibrate.num_draws": 1,
    "calibrate.max_memory_mb": 1,
    **{f"train.scft.{term}": 0 for term in scft_loss.TERMS},
    "train.drop_sketch": 0,
    "train.drop_reference": 0,
    "train.validation_images": 1,
    "refine.sampler_steps": 1,
    "refine.min_sampler_steps": 0,
    "refine.grid_steps": 0,
    "refine.gradient_steps": 0,
    "refine.min_gradient_steps": 0,
    "refine.denoising_share": 0,
    **{
        f"{section}.{name}": least
        for section in training_checks.SECTIONS
        for name, least in {
            "steps": 0,
            "epochs": 0,
            "batch_size": 1,
            "accumulate": 1,
            "final_learning_rate": 0,
            "warmup_steps": -1,
            "weight_decay": 0,
            "log_every": 1,
            "validate_every": 1,
            "sample_every": 1,
            "checkpoint_every": 1,
            "keep_checkpoints": 1,
        }.items()
    },
    "eval.sampler_steps": 1,
    "eval.grid_steps": 0,
    "eval.churn": 0,
    "eval.eta": 0,
    "eval.start_sigma": 0,
    "eval.posterior_draws": 1,
    "eval.batch_size": 1,
    "eval.max_images": 0,
    "eval.save_images": 0,
    "eval.num_seeds": 1,
    "eval.guidance.sketch": 0,
    "eval.guidance.reference": 0,
    "eval.guidance.structure": 0,
    "eval.guidance.sigma_min": 0,
}

POSITIVE = (
    "diffusion.sigma_min",
    "diffusion.sigma_max",
    "diffusion.sigma_data",
    "calibrate.c",
    "train.scft.margin",
    "eval.guidance.sigma_max",
    *(
        f"{section}.{name}"
        for section in training_checks.SECTIONS
        for name in ("learning_rate", "clip_norm", "ema_half_life")
    ),
)


# Folders of a workdir that belong to its training.
_OWN = ("checkpoints", "samples", "refine")


class ConfigError(ValueError):
    """The config asks for something that cannot be done; the message says how to mend it."""


def check(
    config: ml_collections.ConfigDict,
    num_devices: int,
    num_processes: int = 1,
    refines: bool = True,
) -> None:
    """Checks every field and how they fit together.

    Args:
        config: see `configs/edm_ssimbad.py`.
        num_devices: devices of all hosts.
        num_processes: hosts.
        refines: whether refinement is among the stages.

    Raises:
        ConfigError: with one line for each problem: field, value and remedy.
    """
    problems = [
        *_single_fields(config),
        *remote.problems(config),
        *_model(config),
        *_noise_levels(config),
        *scft_loss.problems(config),
        *training_checks.problems(config, num_devices, num_processes, refines),
        *_evaluation(config, num_devices, num_processes),
    ]
    if problems:
        raise ConfigError("the config cannot work:\n" + "\n".join(f"  {p}" for p in problems))


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Checks that what a run draws does not become its data.

    Raises:
        ConfigError: the workdir lies where the pictures of `data.dir` are searched.
    """
    if not config.data.dir or bucket.is_address(config.data.dir):
        return
    for folder in picture_folder.searched(pathlib.Path(config.data.dir).expanduser()):
        if workdir.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"--workdir={workdir} lies in {folder}, where it is searched for pictures to train "
                "on (data.dir); set it to a folder elsewhere"
            )


def check_pictures(config: ml_collections.ConfigDict) -> None:
    """Looks for the pictures of `data.dir`, without opening them.

    Raises:
        ConfigError: there are none, or not as pairs.
    """
    if not config.data.dir or bucket.is_address(config.data.dir):
        return
    try:
        picture_folder.find_pictures(pathlib.Path(config.data.dir).expanduser())
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(f"data.dir is {config.data.dir!r}: {error}") from error


def check_model(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of a trained run that sampling needs.

    Raises:
        ConfigError: as `check`.
    """
    problems = [*_model(config), *_noise_levels(config)]
    if problems:
        raise ConfigError("the config cannot work:\n" + "\n".join(f"  {p}" for p in problems))


def _get(config: ml_collections.ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _single_fields(config: ml_collections.ConfigDict) -> Iterator[str]:
    for field, names in CHOICES.items():
        value = _get(config, field)
        if value not in names:
            yield f"{field} is {value!r}; choose one of {', '.join(map(repr, names))}"
    for field, least in AT_LEAST.items():
        value = _get(config, field)
        if not least <= value < float("inf"):  # not-a-number is in no range
            yield f"{field} is {value}; set it to {least} or more"
    if config.seed > choices.MAX_SEED:
        yield f"seed is {config.seed}; set it to {choices.MAX_SEED} or less"
    if config.data.max_bad_fraction > 1:
        yield f"data.max_bad_fraction is {config.data.max_bad_fraction}; set it to 1 or less"
    for field in ("train.drop_sketch", "train.drop_reference"):
        share = _get(config, field)
        if share >= 1:
            yield f"{field} is {share}; set it below 1, so that the condition is learnt, too"
    for field in POSITIVE:
        value = _get(config, field)
        if not 0 < value < float("inf"):
            yield f"{field} is {value}; set it to a positive number"


def _model(config: ml_collections.ConfigDict) -> Iterator[str]:
    model = config.model
    multipliers = tuple(model.channel_multipliers)
    if not multipliers or not all(isinstance(m, int) and m > 0 for m in multipliers):
        yield (
            f"model.channel_multipliers is {multipliers}; give one positive whole number a level, "
            "such as (1, 2, 4)"
        )
        return
    factor = 2 ** (len(multipliers) - 1)
    size = config.data.image_size
    if size % factor:
        yield (
            f"data.image_size is {size}, not divisible by {factor} for "
            f"{len(multipliers)} levels (model.channel_multipliers); set it to "
            f"{max(1, round(size / factor)) * factor}, or use fewer levels"
        )
    if model.base_channels % 2:
        yield f"model.base_channels is {model.base_channels}; the noise embedding needs it even"
    widths = [model.base_channels * m for m in multipliers]
    # The decoder normalises concatenations of neighbouring widths, too.
    if model.num_groups > 0 and any(width % model.num_groups for width in widths):
        yield (
            f"model.num_groups is {model.num_groups}, which does not divide the levels' channels "
            f"{widths}; choose a divisor of model.base_channels = {model.base_channels}"
        )
    if model.num_heads > 0 and widths[-1] % model.num_heads:
        yield (
            f"model.num_heads is {model.num_heads}, which does not divide the {widths[-1]} "
            "channels of the last level; choose a divisor"
        )
    if model.cbam and min(widths) < unet.CBAM_REDUCTION:
        yield (
            f"model.cbam needs {unet.CBAM_REDUCTION} channels or more at each level, but "
            f"model.base_channels is {model.base_channels}; raise it, or set model.cbam to False"
        )


def _noise_levels(config: ml_collections.ConfigDict) -> Iterator[str]:
    problems = list(_diffusion(config))
    # The levels that are walked and guided exist only where the schedule does.
    yield from problems or (*solvers.problems(config), *guided_denoiser.problems(config))


def _diffusion(config: ml_collections.ConfigDict) -> Iterator[str]:
    diffusion = config.diffusion
    if diffusion.num_levels < 2:
        yield f"diffusion.num_levels is {diffusion.num_levels}; set it to 2 or more"
    if diffusion.sigma_min >= diffusion.sigma_max:
        yield (
            f"diffusion.sigma_min is {diffusion.sigma_min} and diffusion.sigma_max "
            f"{diffusion.sigma_max}; set sigma_min below sigma_max"
        )
    if not 0 < diffusion.beta_first <= diffusion.beta_last < 1:
        yield (
            f"diffusion.beta_first is {diffusion.beta_first} and diffusion.beta_last "
            f"{diffusion.beta_last}; set 0 < beta_first <= beta_last < 1"
        )


def _evaluation(
    config: ml_collections.ConfigDict, num_devices: int, num_processes: int
) -> Iterator[str]:
    if config.eval.batch_size % num_devices:
        yield (
            f"eval.batch_size is {config.eval.batch_size}, not divisible by {num_devices} "
            f"device(s); set it to a multiple of {num_devices}"
        )
    if num_devices % num_processes:
        yield f"{num_devices} devices do not divide among {num_processes} processes"
    if config.data.image_size > config.data.condition_size:
        yield (
            f"data.image_size is {config.data.image_size}, above data.condition_size = "
            f"{config.data.condition_size}, the size pictures are kept at; raise condition_size"
        )
    parts = pathlib.PurePath(config.eval.folder).parts
    if not parts or pathlib.PurePath(*parts).is_absolute() or {".."} & {*parts} or parts[0] in _OWN:
        yield (
            f"eval.folder is {config.eval.folder!r}, where scoring would replace what is not its "
            "own; name a folder of its own inside of the workdir, such as 'eval_euler'"
        )
    metrics = tuple(config.eval.metrics)
    for name in metrics:
        if name not in scores.METRICS:
            yield (
                f"eval.metrics has {name!r}; choose out of {', '.join(map(repr, scores.METRICS))}, "
                "as in --config.eval.metrics=\"('psnr','ssim')\""
            )
    if len(set(metrics)) != max(1, len(metrics)):
        yield f"eval.metrics is {metrics}; name at least one, and each once"
