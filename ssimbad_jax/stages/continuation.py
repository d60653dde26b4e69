"""Refuses to go on with a checkpoint under a config that means something else.

Shapes are checked when a checkpoint is read; this is about what would fit and still be wrong, such
as another learning rate half-way, or another number of groups in the same network.
"""

import pathlib
from typing import Any

import ml_collections

from ssimbad_jax.stages import components

Record = dict[str, Any]

DATA = "data_fingerprint"
PRETRAINED_STEP = "pretrained_step"  # of the pretraining; in checkpoints of a refinement
IMPORTED = "imported"  # what imported weights come from; in checkpoints that no run here trained

# What the numbers of any training follow from, beside its own section and what its checkpoints
# keep apart from the config. Other fields may change on the way.
_DECIDE = ("seed", "data", "model", "diffusion", "calibrate")
FREE = (
    "data.dir",  # a folder may move: its content is compared, by fingerprint
    "data.prepared_dir",
    "data.num_workers",
    "data.toy_faces_test",
    "data.max_bad_fraction",  # what it leaves out is in the fingerprint
    "calibrate.max_memory_mb",
    "refine.enabled",
    *(
        f"{section}.{name}"
        for section in ("train", "refine")
        for name in (
            "accumulate",  # the gradient is that of the whole batch
            "log_every",
            "validate_every",
            "sample_every",
            "checkpoint_every",
            "keep_checkpoints",
            "accept_changes",
        )
    ),
)
# What the trained network is used with, whoever uses it.
_NETWORK = (
    "model.name",
    "model.num_groups",
    "model.num_heads",
    "diffusion.schedule",
    "diffusion.preconditioning",
    "diffusion.num_levels",
    "diffusion.beta_first",
    "diffusion.beta_last",
    "diffusion.sigma_data",
    "calibrate.scale",
    "calibrate.c",
)


# What else, if sampling is guided by scales other than 1; older runs did without.
_GUIDED = {"train.drop_sketch": 0.0, "train.drop_reference": 0.0}
_SCALES = ("eval.guidance.sketch", "eval.guidance.reference")


def record(config: ml_collections.ConfigDict, data_fingerprint: str) -> Record:
    """Returns what a checkpoint keeps of its run: the config, and which pictures it saw."""
    return components.as_json(config) | {DATA: data_fingerprint}


def check(saved: Record, current: Record, path: pathlib.Path, section: str = "train") -> None:
    """Compares what a checkpoint was trained with and what is to go on with it.

    Args:
        saved: see `record`; fields that are on one side only are not compared.
        current: the same of the run that continues.
        path: of the checkpoint, for the message.
        section: of the config that belongs to this training.

    Imported weights are a start, not a part of a training: only the network has to be the same.

    Raises:
        ValueError: a field that the numbers follow from differs.
    """
    if IMPORTED in saved:
        check_network(saved, current, path)
        return
    started, starts = (kept.get(PRETRAINED_STEP) for kept in (saved, current))
    if None not in (started, starts) and started != starts:
        raise ValueError(
            f"{path} refines step {started} of the pretraining, which is at step {starts} by now. "
            f"Move {path.parent} away to refine that; --config.{section}.accept_changes=True goes "
            "on with the earlier refinement"
        )
    before, now = _relevant(saved), _relevant(current)
    decide = (*_DECIDE, section)
    _compare(
        {n: before[n] for n in before if "." not in n or n.split(".")[0] in decide},
        now,
        f"{path} was trained with another config",
        "Use the old value, or another --workdir for a new run; "
        f"--config.{section}.accept_changes=True goes on with the new one",
    )


def check_network(saved: Record, current: Record, path: pathlib.Path) -> None:
    """Compares only what a trained network is used with, for scoring and colouring.

    Raises:
        ValueError: a field differs.
    """
    before, now = _GUIDED | _relevant(saved), _relevant(current)
    is_guided = any(now.get(scale, 1.0) != 1.0 for scale in _SCALES)
    names = (*_NETWORK, *_GUIDED) if is_guided else _NETWORK
    _compare(
        {name: before[name] for name in names if name in before},
        now,
        f"{path} belongs to another network",
        "Use the config the run was made with (config.json in the workdir)",
    )


def hold_out_caution(pretraining: Record, refinement: Record) -> str:
    """Returns why pictures held out now were not held out of the pretraining, or nothing.

    Args:
        pretraining: what its checkpoint keeps.
        refinement: the config of now.
    """
    if IMPORTED in pretraining:
        return ""
    before, now = _flatten(pretraining), _flatten(refinement)
    for name in ("seed", "train.validation_images"):
        if before.get(name, now[name]) != now[name]:
            return (
                f"caution: {name} was {before[name]} in the pretraining and is {now[name]}: it saw "
                "pictures that are held out now, which makes their losses too small"
            )
    return ""


def _compare(before: Record, now: Record, subject: str, remedy: str) -> None:
    different = [name for name in before if name in now and before[name] != now[name]]
    if different:
        changes = ", ".join(
            f"{name} was {before[name]!r} and is {now[name]!r}" for name in different
        )
        raise ValueError(f"{subject}: {changes}. {remedy}.")


def _relevant(kept: Record) -> Record:
    """Returns the fields by their full names, without those that have no effect here."""
    fields = {name: value for name, value in _flatten(kept).items() if name not in FREE}
    if kept["data"]["dir"]:
        fields = {n: v for n, v in fields.items() if not n.startswith("data.toy_faces")}
    else:
        # Drawn from size, number and seed, which are compared by name.
        fields[DATA] = "the built-in faces"
    for section in ("train", "refine"):
        if kept.get(section, {}).get("steps"):
            fields.pop(f"{section}.epochs")  # only counted where no steps are given
    if kept["diffusion"]["schedule"] != "ssimbad":
        return {n: v for n, v in fields.items() if not n.startswith("calibrate.")}
    if kept["calibrate"]["scale"] == "rational":
        used = ("calibrate.scale", "calibrate.c")
        return {n: v for n, v in fields.items() if not n.startswith("calibrate.") or n in used}
    fields.pop("calibrate.c", None)
    return fields


def _flatten(tree: Record, prefix: str = "") -> Record:
    flat: Record = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
