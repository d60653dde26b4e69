"""Which weights of a run are used: the refined ones where there are any, or the pretrained."""

import pathlib
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import ml_collections

from ssimbad_jax.stages import components, continuation, solvers
from ssimbad_jax.training import checkpoint, progress, recovery, sharding

FOLDERS = {
    "pretrain": pathlib.Path("checkpoints") / "pretrain",
    "refine": pathlib.Path("checkpoints") / "refine",
}


class Weights(NamedTuple):
    """Averaged parameters of a checkpoint.

    Attributes:
        kind: "pretrain" or "refine".
        step: of the checkpoint.
        params: of the network.
        kept: what the checkpoint keeps of the config it was trained with.
    """

    kind: str
    step: int
    params: Any
    kept: continuation.Record


def kind(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> str:
    """Returns which weights `eval.weights` means; "auto" prefers refined ones."""
    if config.eval.weights != "auto":
        return config.eval.weights
    return "pretrain" if newest_step(workdir, "refine") is None else "refine"


def newest_step(workdir: pathlib.Path, which: str) -> int | None:
    """Returns the step of the newest checkpoint, None where there is none.

    Args:
        workdir: of the run.
        which: "pretrain" or "refine".
    """
    folder = workdir / FOLDERS[which]
    if not folder.is_dir():
        return None
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        return checkpoints.latest_step()
    finally:
        checkpoints.close()


def load(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    mesh: jax.sharding.Mesh,
    which: str | None = None,
    chosen: str | None = None,
) -> Weights:
    """Returns the averaged parameters of a checkpoint, on all devices.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of the run.
        mesh: the devices.
        which: "pretrain" or "refine"; by default what `eval.weights` means.
        chosen: "newest" or "best" checkpoint; by default `eval.checkpoint`.

    Raises:
        FileNotFoundError: there is no checkpoint, or none that "best" could mean.
        DamagedError: there are checkpoints, and all are damaged.
        ValueError: it does not fit the config.
    """
    which = which or kind(config, workdir)
    folder = workdir / FOLDERS[which]
    if not folder.is_dir():
        raise _missing(workdir, which)
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        like = components.abstract_params(config, sharding.replicated(mesh))
        best = (chosen or config.eval.checkpoint) == "best"
        restored = recovery.restore_ema_params(checkpoints, like, best)
        if restored is None:
            newest = checkpoints.latest_step()
            raise _missing(workdir, which) if newest is None else _without_loss(folder, newest)
        step, params = restored
        kept = checkpoints.run_config(step)
        continuation.check_network(kept, components.as_json(config), checkpoints.path(step))
        return Weights(which, step, params, kept)
    finally:
        checkpoints.close()


def check_exist(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> None:
    """Refuses a workdir without a checkpoint of what `eval.weights` means.

    Raises:
        FileNotFoundError: there is none.
    """
    which = kind(config, workdir)
    if newest_step(workdir, which) is None:
        raise _missing(workdir, which)


def _missing(workdir: pathlib.Path, which: str) -> FileNotFoundError:
    folder = workdir / FOLDERS[which]
    if which == "pretrain" and newest_step(workdir, "refine") is not None:
        return FileNotFoundError(
            f"{folder} holds no checkpoint: this run has refined weights only, which were "
            "imported so; they can be evaluated, coloured with and exported. To refine, or to "
            "train on, start from pretrained ones: torch_import --weights=pretrain"
        )
    stages = "calibrate,train" if which == "pretrain" else "refine"
    return FileNotFoundError(f"{folder} holds no checkpoint; train first: --stages={stages}")


def _without_loss(folder: pathlib.Path, newest: int) -> FileNotFoundError:
    return FileNotFoundError(
        f'no checkpoint in {folder} has a validation loss, which "best" goes by; imported weights '
        f'have none. "newest", of step {newest}, is what can be chosen: --config.eval.checkpoint, '
        "--config.refine.checkpoint to refine, --checkpoint of colorize"
    )


def deployed(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    which: str,
    step: int | None = None,
    otherwise: str = "--config.eval.refined_solver=False samples as the rest of config.eval says",
) -> ml_collections.ConfigDict:
    """Returns the config whose `eval` samples as the weights were refined, if they were.

    Refined weights belong to one solver, grid and number of steps: those that their checkpoint
    keeps, whatever `refine` says by now. With `eval.refined_solver` set to False they are sampled
    like any others.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of the run.
        which: "pretrain" or "refine".
        step: of the checkpoint; by default the newest.
        otherwise: how to sample in another way, for the line that is said.

    Raises:
        DamagedError: the checkpoint is damaged.
    """
    if which != "refine" or not config.eval.refined_solver:
        return config
    config = config.copy_and_resolve_references()
    config.refine.update(_refined_solver(workdir, step))
    progress.say(
        f"Refined weights are sampled as they were refined, by {solvers.describe(config.refine)}; "
        f"{otherwise}"
    )
    return solvers.of_refinement(config)


def check_honoured(
    config: ml_collections.ConfigDict,
    workdir: pathlib.Path,
    given: Collection[str],
    refines: bool,
) -> None:
    """Refuses what was asked of sampling where refined weights are sampled as they were refined.

    Args:
        config: see `configs/edm_ssimbad.py`.
        workdir: of the run.
        given: fields that the user set beside the config's file, such as "eval.sampler". Guidance,
            churn and a start below pure noise count wherever they were set.
        refines: whether the run refines before it is evaluated.

    Raises:
        ValueError: a field could not be honoured.
        DamagedError: the checkpoint is damaged.
    """
    is_refined = kind(config, workdir) == "refine" or (refines and config.eval.weights == "auto")
    if not (is_refined and config.eval.refined_solver):
        return
    used = config.copy_and_resolve_references()
    if not refines:
        used.refine.update(_refined_solver(workdir, None))
    used = solvers.of_refinement(used)
    for field, value in solvers.sampling_fields(config).items():
        honoured = solvers.sampling_fields(used)[field]
        if value != honoured and (field in given or field in solvers.ALWAYS_ASKED):
            raise ValueError(
                f"{field} is {value!r}, but refined weights are sampled as they were refined, with "
                f"{honoured!r}; leave it out, or set eval.refined_solver to False to sample them "
                "otherwise, or eval.weights to 'pretrain'"
            )


def _refined_solver(workdir: pathlib.Path, step: int | None) -> dict[str, Any]:
    """Returns what a checkpoint keeps of its solver; imported ones may keep nothing."""
    checkpoints = checkpoint.Checkpoints(workdir / FOLDERS["refine"], read_only=True)
    try:
        step = checkpoints.latest_step() if step is None else step
        config = checkpoints.run_config(step) if step is not None else {}
    finally:
        checkpoints.close()
    kept = solvers.kept_refinement(config)
    return {name: kept[name] for name in solvers.OF_REFINEMENT if name in kept}
