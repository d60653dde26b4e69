"""Refuses configs that cannot work, before anything runs."""

import pathlib
from collections.abc import Iterator
from typing import Any

import ml_collections

from ssimbad_jax.data import picture_folder, warp
from ssimbad_jax.metrics import ssim
from ssimbad_jax.models import unet
from ssimbad_jax.stages import guided_denoiser, scores, solvers, weights

# Sections of the config that say how to train; their common fields have common bounds.
TRAININGS = ("train", "refine")

CHOICES = {
    "data.warp": warp.KINDS,
    "model.compute_dtype": ("float32", "bfloat16"),
    "diffusion.schedule": ("ssimbad", "edm"),
    "calibrate.scale": ("rational", "best", "table"),
    "train.loss_weighting": ("uniform", "edm"),
    "refine.checkpoint": ("newest", "best"),
    "refine.sampler": tuple(solvers.SOLVERS),
    "eval.weights": weights.CHOICES,
    "eval.sampler": tuple(solvers.SOLVERS),
    "eval.checkpoint": ("newest", "best"),
}

# Smallest value of each number; fields that are not named may be any number.
AT_LEAST = {
    "seed": 0,
    "data.image_size": ssim.GAUSSIAN_WINDOW,  # results are scored with it
    "data.condition_size": 32,
    "data.max_bad_fraction": 0,
    "data.num_workers": 0,
    "data.toy_faces_train": 1,
    "data.toy_faces_test": 2,
    "model.base_channels": 1,
    "model.num_res_blocks": 1,
    "model.num_heads": 1,
    "model.num_groups": 1,
    "calibrate.num_images": 1,
    "calibrate.num_sigmas": 16,
    "calibrate.num_draws": 1,
    "calibrate.max_memory_mb": 1,
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
        for section in TRAININGS
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

MAX_SEED = 2**32 - 1  # JAX keys of larger seeds equal those of smaller ones

POSITIVE = (
    "diffusion.sigma_min",
    "diffusion.sigma_max",
    "diffusion.sigma_data",
    "calibrate.c",
    "eval.guidance.sigma_max",
    *(
        f"{section}.{name}"
        for section in TRAININGS
        for name in ("learning_rate", "clip_norm", "ema_half_life")
    ),
)


class ConfigError(ValueError):
    """The config asks for something that cannot be done; the message says how to mend it."""


def check(config: ml_collections.ConfigDict, num_devices: int, num_processes: int = 1) -> None:
    """Checks every field and how they fit together.

    Args:
        config: see `configs/edm_ssimbad.py`.
        num_devices: devices of all hosts.
        num_processes: hosts.

    Raises:
        ConfigError: with one line for each problem: field, value and remedy.
    """
    problems = [
        *_single_fields(config),
        *_model(config),
        *_diffusion(config),
        *sampling_problems(config),
        *_batches(config, num_devices, num_processes),
        *_lengths(config),
        *_refinement(config),
        *_metrics(config),
        *guided_denoiser.problems(config),
    ]
    if problems:
        raise ConfigError("the config cannot work:\n" + "\n".join(f"  {p}" for p in problems))


def check_workdir(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Checks that what a run draws does not become its data.

    Raises:
        ConfigError: the workdir lies where the pictures of `data.dir` are searched.
    """
    if not config.data.dir:
        return
    for folder in picture_folder.searched(pathlib.Path(config.data.dir).expanduser()):
        if workdir.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"--workdir={workdir} lies in {folder}, where it is searched for pictures to train "
                "on (data.dir); set it to a folder elsewhere"
            )


def check_model(config: ml_collections.ConfigDict) -> None:
    """Checks the fields of a trained run that sampling needs.

    Raises:
        ConfigError: as `check`.
    """
    problems = [
        *_model(config),
        *_diffusion(config),
        *sampling_problems(config),
        *guided_denoiser.problems(config),
    ]
    if problems:
        raise ConfigError("the config cannot work:\n" + "\n".join(f"  {p}" for p in problems))


def _get(config: ml_collections.ConfigDict, field: str) -> Any:
    for part in field.split("."):
        config = config[part]
    return config


def _single_fields(config: ml_collections.ConfigDict) -> Iterator[str]:
    for field, choices in CHOICES.items():
        value = _get(config, field)
        if value not in choices:
            yield f"{field} is {value!r}; choose one of {', '.join(map(repr, choices))}"
    for field, least in AT_LEAST.items():
        value = _get(config, field)
        if not least <= value < float("inf"):  # not-a-number is in no range
            yield f"{field} is {value}; set it to {least} or more"
    if config.seed > MAX_SEED:
        yield f"seed is {config.seed}; set it to {MAX_SEED} or less"
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


def _diffusion(config: ml_collections.ConfigDict) -> Iterator[str]:
    diffusion = config.diffusion
    if diffusion.sigma_min >= diffusion.sigma_max:
        yield (
            f"diffusion.sigma_min is {diffusion.sigma_min} and diffusion.sigma_max "
            f"{diffusion.sigma_max}; set sigma_min below sigma_max"
        )


def _grid(config: ml_collections.ConfigDict, section: str) -> Iterator[str]:
    steps, grid_steps = (config[section][n] for n in ("sampler_steps", "grid_steps"))
    if 0 < grid_steps < steps:
        yield (
            f"{section}.grid_steps is {grid_steps}, fewer than {section}.sampler_steps = "
            f"{steps}; set it to 0 or to at least as many"
        )


def sampling_problems(config: ml_collections.ConfigDict) -> Iterator[str]:
    """Yields what is wrong with how `eval` samples, a line each."""
    evaluation, diffusion = config.eval, config.diffusion
    yield from _grid(config, "eval")
    start = evaluation.start_sigma
    if start and not diffusion.sigma_min < start <= diffusion.sigma_max:
        yield (
            f"eval.start_sigma is {start}; set it above diffusion.sigma_min = "
            f"{diffusion.sigma_min} and to at most diffusion.sigma_max = {diffusion.sigma_max}, "
            "or to 0 to start from pure noise"
        )
    if not evaluation.eta <= 1:
        yield f"eval.eta is {evaluation.eta}; set it to 1 or less"
    for option in ("churn", "eta"):
        users = solvers.users(option, evaluation)
        if evaluation[option] and evaluation.sampler not in users:
            yield (
                f"eval.{option} is {evaluation[option]}, which {evaluation.sampler!r} does not "
                f"use; set it to 0, or eval.sampler to {' or '.join(map(repr, users))}"
            )


def _batches(
    config: ml_collections.ConfigDict, num_devices: int, num_processes: int
) -> Iterator[str]:
    for section in TRAININGS:
        size, accumulate = config[section].batch_size, config[section].accumulate
        # Refinement has small batches, and makes do with the devices of one host that divide them.
        devices = num_devices if section == "train" or num_processes > 1 else 1
        if size > 0 and accumulate > 0 and size % (accumulate * devices):
            yield (
                f"{section}.batch_size is {size}, not divisible by {devices} device(s) times "
                f"{section}.accumulate = {accumulate}; set it to a multiple of "
                f"{accumulate * devices}"
            )
    if config.eval.batch_size % num_devices:
        yield (
            f"eval.batch_size is {config.eval.batch_size}, not divisible by {num_devices} "
            f"device(s); set it to a multiple of {num_devices}"
        )
    if num_devices % num_processes:
        yield f"{num_devices} devices do not divide among {num_processes} processes"


def _lengths(config: ml_collections.ConfigDict) -> Iterator[str]:
    for name in TRAININGS:
        section = config[name]
        if section.steps == 0 and section.epochs == 0:
            yield f"{name}.steps and {name}.epochs are both 0; set one of them"
        if section.final_learning_rate > section.learning_rate:
            yield (
                f"{name}.final_learning_rate is {section.final_learning_rate}, above "
                f"{name}.learning_rate = {section.learning_rate}; lower it"
            )
        if section.steps and section.warmup_steps >= section.steps:
            yield (
                f"{name}.warmup_steps is {section.warmup_steps}, not less than {name}.steps = "
                f"{section.steps}; lower it, or set it to -1 for one epoch"
            )
    if config.data.image_size > config.data.condition_size:
        yield (
            f"data.image_size is {config.data.image_size}, above data.condition_size = "
            f"{config.data.condition_size}, the size pictures are kept at; raise condition_size"
        )


def _refinement(config: ml_collections.ConfigDict) -> Iterator[str]:
    refine = config.refine
    yield from _grid(config, "refine")
    most_gradient = refine.gradient_steps or refine.sampler_steps
    for name, most in {
        "min_sampler_steps": refine.sampler_steps,
        "gradient_steps": refine.sampler_steps,
        "min_gradient_steps": most_gradient,
    }.items():
        if refine[name] > most:
            yield f"refine.{name} is {refine[name]}; set it to {most} or less"
    if refine.denoising_share >= 1:
        yield (
            f"refine.denoising_share is {refine.denoising_share}; set it below 1, where nothing "
            "would be refined"
        )
    weights_of = refine.losses.to_dict()
    if min(weights_of.values()) < 0 or not 0 < sum(weights_of.values()) < float("inf"):
        yield (
            f"refine.losses are {weights_of}; give them weights of 0 or more, at least one of "
            "them positive"
        )


def _metrics(config: ml_collections.ConfigDict) -> Iterator[str]:
    metrics = tuple(config.eval.metrics)
    for name in metrics:
        if name not in scores.METRICS:
            yield (
                f"eval.metrics has {name!r}; choose out of {', '.join(map(repr, scores.METRICS))}, "
                "as in --config.eval.metrics=\"('psnr','ssim')\""
            )
    if len(set(metrics)) != max(1, len(metrics)):
        yield f"eval.metrics is {metrics}; name at least one, and each once"
