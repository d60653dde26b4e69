"""All stages of a run, in order."""

import contextlib
import functools
import json
import pathlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import jax
import ml_collections

from ssimbad_jax.configs import edm_ssimbad
from ssimbad_jax.stages import (
    calibrate,
    components,
    evaluate,
    failures,
    refine,
    report,
    run_record,
    solvers,
    train,
    validation,
    weights,
    workdir_lock,
)
from ssimbad_jax.training import progress, sharding

# Sections of the config for which no default may be guessed, and what all runs did before they had
# these fields.
NETWORK = ("data", "model", "diffusion", "calibrate")
_BEFORE: dict[str, dict[str, Any]] = {
    "data": {"colour_jitter": 0.0},
    "model": {"name": "unet"},
    "diffusion": {
        "preconditioning": "edm",
        "num_levels": 1000,
        "beta_first": 1e-6,
        "beta_last": 1e-2,
    },
}

Stage = Callable[..., None]  # (config, workdir), and those that train: following=


def _calibrate(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    pictures, fingerprint = components.calibration_pictures(config)
    is_trained_with = (
        config.diffusion.schedule == "ssimbad"
        and not config.train.accept_changes
        and weights.newest_step(workdir, "pretrain") is not None
    )
    calibrate.calibrate(config, workdir, pictures, fingerprint, is_trained_with)


STAGES: dict[str, Stage] = {
    "calibrate": _calibrate,
    "train": train.train,
    "refine": refine.refine,
    "evaluate": evaluate.evaluate,
    "report": report.report,
}


_TRAINING = {"train", "refine"}
# The stages that change a run; the others look at it.
_MAKING = {"calibrate", *_TRAINING}


def default_stages(config: ml_collections.ConfigDict) -> list[str]:
    """Returns the stages of a whole run: all, but refinement only where the config asks for it."""
    return [name for name in STAGES if name != "refine" or config.refine.enabled]


def batch_sizes(config: ml_collections.ConfigDict) -> list[int]:
    """Returns the batch sizes that the number of devices has to divide."""
    return [config.train.batch_size // max(1, config.train.accumulate), config.eval.batch_size]


def run(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    stages: Sequence[str],
    config_name: str = "",
    given: Collection[str] = (),
) -> None:
    """Checks the config and runs the stages.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: where everything is written; made if it does not exist.
        stages: names out of `STAGES`.
        config_name: of the config's file, for `run.json`.
        given: fields that the user set beside the config's file, such as "eval.sampler".

    Raises:
        validation.ConfigError: the config or a stage's name cannot work; nothing was run.
        FileNotFoundError: `eval.pairs` or `eval.inception_weights` is no file, there is no
            pretraining to refine, no checkpoint to evaluate or no run to report; nothing was run.
        ValueError: one of them cannot be used, the pretraining to refine belongs to another
            network, or a field that was asked for cannot be honoured; nothing was run.
        LockedError: another run works in the workdir; nothing was run.
        StorageError: a folder is full or cannot be written; what was saved before is intact.
        OutOfMemoryError: a stage needs more memory than there is.
        Interrupted: a signal asked to stop; the same call continues.
    """
    unknown = [name for name in stages if name not in STAGES]
    if unknown:
        raise validation.ConfigError(
            f"--stages names {unknown[0]!r}; choose from {','.join(STAGES)}"
        )
    refines = "refine" in stages
    validation.check(config, jax.device_count(), jax.process_count(), refines)
    validation.check_workdir(config, workdir)
    folders = (workdir, components.prepared_dir(config))
    if _MAKING & set(stages):
        validation.check_pictures(config)
    if "evaluate" in stages:
        evaluate.check_files(config)  # a bad file is refused now, not after the training
    if refines and "train" not in stages:
        refine.starting_point(config, workdir, sharding.data_mesh())
    if not _MAKING & set(stages):
        _check_made(config, workdir, stages)
    if "evaluate" in stages:
        weights.check_honoured(config, workdir, given, refines)
    with failures.explained("start", config, folders), _locked(config, workdir, stages):
        is_kept = (workdir / components.CONFIG).exists() or set(stages) == {"report"}
        if jax.process_index() == 0 and not is_kept:
            components.save_config(config, workdir)
        if _MAKING & set(stages) or ("evaluate" in stages and not config.eval.pairs):
            _say_what_data(config)
        wanted = [name for name in STAGES if name in stages]
        for number, name in enumerate(wanted, start=1):
            stage = STAGES[name]
            if name in _TRAINING:
                stage = functools.partial(stage, following=wanted[number:])
            with (
                failures.explained(name, config, folders),
                run_record.timed(workdir, name, config_name),
            ):
                stage(config, workdir)


def _check_made(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, stages: Sequence[str]
) -> None:
    """Refuses a mistyped workdir before anything is written there.

    Raises:
        FileNotFoundError: there is no such folder, or no checkpoint in it to evaluate.
    """
    if not workdir.is_dir():
        raise FileNotFoundError(f"--workdir={workdir} does not exist; name the folder of a run")
    if "evaluate" in stages:
        weights.check_exist(config, workdir)


def load_config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """Returns the config that a run was made with, as its workdir keeps it.

    A run may be older than some fields. Those that do not say what its network is have the value
    of the paper's config then, which leaves out what is newer.

    Raises:
        FileNotFoundError: there is no such run.
        validation.ConfigError: the file is damaged, or the config cannot work.
    """
    path = workdir / components.CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of a finished run")
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        config = ml_collections.ConfigDict(_with_newer_fields(kept))
        # Only what colouring needs: a run may be older than some fields of training.
        validation.check_model(config)
    except validation.ConfigError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise validation.ConfigError(
            f"{path} is not the config of a run: {reason}; restore it, or name another run"
        ) from error
    return config


def _with_newer_fields(kept: dict[str, Any]) -> dict[str, Any]:
    """Fills in the fields that a run's config lacks."""
    newest = components.as_json(edm_ssimbad.get_config())
    before = {name: fields for name, fields in _BEFORE.items() if name in kept}
    kept = kept | {"refine": solvers.kept_refinement(kept)}
    return _filled(kept, {name: newest[name] for name in newest if name not in NETWORK} | before)


def _filled(kept: dict[str, Any], newest: dict[str, Any]) -> dict[str, Any]:
    nested = {
        name: _filled(kept.get(name, {}), value)
        for name, value in newest.items()
        if isinstance(value, dict)
    }
    return {**newest, **kept, **nested}


@contextlib.contextmanager
def _locked(
    config: ml_collections.ConfigDict, workdir: pathlib.Path, stages: Sequence[str]
) -> Iterator[None]:
    """Keeps other runs out of what the stages write: the run, the folder of scores, or both.

    Whoever only scores does not touch the run, and may do so while it is trained.
    """
    with contextlib.ExitStack() as locks:
        if _MAKING & set(stages):
            locks.enter_context(workdir_lock.hold(workdir))
        if "evaluate" in stages:
            locks.enter_context(workdir_lock.hold(workdir / config.eval.folder))
        yield


def _say_what_data(config: ml_collections.ConfigDict) -> None:
    kept_in = f"Prepared data is kept in {components.prepared_dir(config)} (data.prepared_dir)."
    if config.data.dir:
        progress.say(f"Pictures: {config.data.dir}. {kept_in}")
    else:
        progress.say(
            "Pictures: the built-in toy faces, since no data.dir is given; for your own pass "
            f"--config.data.dir=FOLDER. {kept_in}"
        )
