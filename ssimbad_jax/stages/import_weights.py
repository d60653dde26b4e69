"""Official weights become a run that the other stages take.

    model.ckpt | model.pth | model.safetensors
        -> config.json, imported.json, checkpoints/{pretrain or refine}

The checkpoint is one of step 0: a training goes on from the weights with a fresh optimiser.
"""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from ssimbad_jax.diffusion import schedule
from ssimbad_jax.models import official_unet
from ssimbad_jax.stages import (
    calibrate,
    colorize_files,
    components,
    continuation,
    official_config,
    official_file,
    run,
    validation,
    weights,
)
from ssimbad_jax.training import checkpoint, optimizer, progress
from ssimbad_jax.training import state as state_lib

RESULT = "imported.json"
METHODS = tuple(official_config.METHODS)


def import_weights(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    method: str = "auto",
    kind: str = "auto",
    prefix: str | None = None,
) -> ml_collections.ConfigDict:
    """Makes a run of a file of weights.

    Args:
        source: the file, see `official_file.read`.
        out: the workdir to make; it must not hold a run.
        overrides: fields of the config that the file cannot tell, or tells wrongly.
        method: out of `official_config.METHODS`, or "auto": what the file says.
        kind: "pretrain" or "refine", whose checkpoints the weights become; or "auto".
        prefix: see `official_file.read`.

    Returns:
        The run's config.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be used, or `out` is no place for a run.
        ConfigError: the config that results cannot work.
    """
    check_out(out)
    file = official_file.read(source, prefix)
    with _new_folder(out) as folder:
        try:
            config, reason = _config(file, folder, method, overrides or {})
            params = official_unet.unet_params(file.weights, components.unet(config))
        except validation.ConfigError:
            raise
        except ValueError as error:
            raise ValueError(f"{source} cannot be imported: {error}") from error
        kind = _kind(file, kind)
        record = {
            "file": source.name,
            "sha256": colorize_files.digest(source),
            "prefix": file.prefix,
            "step": _step(file),
            "weights": kind,
            "settings": dict(file.settings),
        }
        components.save_config(config, folder)
        (folder / RESULT).write_text(json.dumps(record, indent=2), encoding="utf-8")
        _save(config, folder / weights.FOLDERS[kind], params, record)
    _report(config, out, file, kind, reason)
    return config


def check_out(out: pathlib.Path) -> None:
    """Checks that nothing is overwritten.

    Raises:
        ValueError: `out` is a file, or a folder with something in it.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        what = "holds a run" if (out / components.CONFIG).is_file() else "is not empty"
        raise ValueError(f"--out={out} {what} already; name a new folder")


def _config(
    file: official_file.OfficialFile,
    folder: pathlib.Path,
    method: str,
    overrides: Mapping[str, Any],
) -> tuple[ml_collections.ConfigDict, str]:
    """Returns the config and, in words, what it follows from."""
    if "config" in file.metadata and method == "auto":
        config, reason = _exported_config(file.metadata, folder), "the config in it"
        config.update_from_flattened_dict(dict(overrides))
    else:
        found, reason = official_config.method_of(file)
        if method != "auto":
            found, reason = method, f"--method={method}"
        config = official_config.config_of(file, found, overrides)
    if config.model.name != "unet":
        raise ValueError(f"model.name is {config.model.name!r}, and the weights are a 'unet'")
    validation.check_model(config)
    official_config.check(file, _noise_schedule(config, folder))
    return config, reason


def _noise_schedule(config: ml_collections.ConfigDict, folder: pathlib.Path) -> schedule.Schedule:
    try:
        return components.noise_schedule(config, folder)
    except FileNotFoundError as error:
        raise ValueError(
            f"it holds no calibration, which calibrate.scale = {config.calibrate.scale!r} needs; "
            "set --config.calibrate.scale=rational and --config.calibrate.c"
        ) from error


def _exported_config(
    metadata: Mapping[str, str], folder: pathlib.Path
) -> ml_collections.ConfigDict:
    """Returns the config that `export_weights` put beside the weights, and its calibration."""
    if metadata.get("calibration"):
        (folder / calibrate.RESULT).write_text(metadata["calibration"], encoding="utf-8")
    (folder / components.CONFIG).write_text(metadata["config"], encoding="utf-8")
    try:
        return run.load_config(folder)
    except validation.ConfigError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"the config in it cannot be used ({reason}); make another with --method, such as "
            f"--method={METHODS[0]}"
        ) from error


def _kind(file: official_file.OfficialFile, kind: str) -> str:
    if kind != "auto":
        return kind
    if file.metadata.get("weights") in weights.FOLDERS:
        return file.metadata["weights"]
    return "refine" if file.is_refined else "pretrain"


def _step(file: official_file.OfficialFile) -> int:
    exported = file.metadata.get("step", "")
    return int(exported) if exported.isdecimal() else file.step


def _save(
    config: ml_collections.ConfigDict, folder: pathlib.Path, params: Any, record: dict[str, Any]
) -> None:
    """Saves what a training would save before its first step."""
    settings = components.optimizer_settings(config.train, num_images=1)
    tx = optimizer.make_optimizer(settings)
    state = state_lib.init_state(jax.tree.map(jnp.asarray, params), tx)
    checkpoints = checkpoint.Checkpoints(folder)
    try:
        checkpoints.save(
            state,
            samples=0,
            run_config=components.as_json(config) | {continuation.IMPORTED: record},
            validation_loss=None,
        )
    finally:
        checkpoints.close()


@contextlib.contextmanager
def _new_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Gives a folder that becomes `out` when all is written, and vanishes if it is not."""
    parent = out.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=parent) as unfinished:
        folder = pathlib.Path(unfinished) / "run"
        folder.mkdir()
        yield folder
        if out.is_dir():
            out.rmdir()
        folder.replace(out)


def _report(
    config: ml_collections.ConfigDict,
    out: pathlib.Path,
    file: official_file.OfficialFile,
    kind: str,
    reason: str,
) -> None:
    count = sum(array.size for array in file.weights.values())
    model, diffusion = config.model, config.diffusion
    progress.say(
        f"torch_import: {count:,} parameters, base {model.base_channels}, multipliers "
        f"{tuple(model.channel_multipliers)}, {model.num_res_blocks} blocks a level, "
        f"{model.num_heads} heads, {config.data.image_size} px; schedule {diffusion.schedule!r}, "
        f"by {reason}. What is wrong of it can be set by --method and --config.FIELD=VALUE"
    )
    further = "; to refine them further, import with --weights=pretrain"
    progress.say(
        f"torch_import: {out / weights.FOLDERS[kind]} ({kind} weights)"
        f"{further if kind == 'refine' else ''}"
    )
