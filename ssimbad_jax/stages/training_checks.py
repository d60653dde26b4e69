"""Refuses trainings and refinements that cannot work; part of `stages.validation`."""

from collections.abc import Iterable, Iterator

import ml_collections

from ssimbad_jax.data import hold_out
from ssimbad_jax.stages import solvers

# Sections of the config that say how to train; their common fields have common bounds.
SECTIONS = ("train", "refine")


def problems(
    config: ml_collections.ConfigDict, num_devices: int, num_processes: int, refines: bool
) -> Iterator[str]:
    """Yields what is wrong with how the fields fit together, a line each.

    Args:
        config: see `configs/edm_ssimbad.py`.
        num_devices: devices of all hosts.
        num_processes: hosts.
        refines: whether refinement is among the stages.
    """
    yield from _batches("train", config.train, num_devices)
    # Refinement has small batches, and makes do with the devices of one host that divide them.
    if refines or num_processes == 1:
        yield from _batches("refine", config.refine, num_devices if num_processes > 1 else 1)
    yield from _built_in_faces(config, SECTIONS if refines else ("train",))
    yield from _lengths(config)
    yield from _refinement(config)


def _batches(name: str, section: ml_collections.ConfigDict, devices: int) -> Iterator[str]:
    size, accumulate = section.batch_size, section.accumulate
    if size > 0 and accumulate > 0 and size % (accumulate * devices):
        yield (
            f"{name}.batch_size is {size}, not divisible by {devices} device(s) times "
            f"{name}.accumulate = {accumulate}; set it to a multiple of {accumulate * devices}"
        )


def _built_in_faces(config: ml_collections.ConfigDict, names: Iterable[str]) -> Iterator[str]:
    faces = config.data.toy_faces_train
    left = faces - hold_out.validation_count(config.train.validation_images, faces)
    for name in names:
        batch_size = config[name].batch_size
        if not config.data.dir and left < batch_size:
            yield (
                f"data.toy_faces_train is {faces}: {left} to train on beside those for validation, "
                f"fewer than {name}.batch_size = {batch_size}; raise it, or lower {name}.batch_size"
            )


def _lengths(config: ml_collections.ConfigDict) -> Iterator[str]:
    for name in SECTIONS:
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


def _refinement(config: ml_collections.ConfigDict) -> Iterator[str]:
    refine = config.refine
    yield from solvers.grid_problem(config, "refine")
    yield from solvers.option_problems(config, "refine")
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
