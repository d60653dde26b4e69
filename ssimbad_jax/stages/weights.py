"""Which weights of a run are used: the refined ones where there are any, or the pretrained."""

import pathlib
from typing import Any, NamedTuple

import jax
import ml_collections

from ssimbad_jax.stages import components, continuation, solvers
from ssimbad_jax.training import checkpoint, progress, recovery, sharding

FOLDERS = {
    "pretrain": pathlib.Path("checkpoints") / "pretrain",
    "refine": pathlib.Path("checkpoints") / "refine",
}
CHOICES = ("auto", *FOLDERS)


class Weights(NamedTuple):
    """Averaged parameters of a checkpoint.

    Attributes:
        kind: "pretrain" or "refine".
        step: of the checkpoint.
        params: of the network.
    """

    kind: str
    step: int
    params: Any


def kind(config: ml_collections.ConfigDict, workdir: pathlib.Path) -> str:
    """Returns which weights `eval.weights` means; "auto" prefers refined ones."""
    if config.eval.weights != "auto":
        return config.eval.weights
    folder = workdir / FOLDERS["refine"]
    if not folder.is_dir():
        return "pretrain"
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        return "refine" if checkpoints.latest_step() is not None else "pretrain"
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
        FileNotFoundError: there is no checkpoint.
        DamagedError: there are checkpoints, and all are damaged.
        ValueError: it does not fit the config.
    """
    which = which or kind(config, workdir)
    folder = workdir / FOLDERS[which]
    missing = FileNotFoundError(
        f"{folder} holds no checkpoint; train first: "
        f"--stages={'calibrate,train' if which == 'pretrain' else 'refine'}"
    )
    if not folder.is_dir():
        raise missing
    checkpoints = checkpoint.Checkpoints(folder, read_only=True)
    try:
        like = components.abstract_params(config, sharding.replicated(mesh))
        best = (chosen or config.eval.checkpoint) == "best"
        restored = recovery.restore_ema_params(checkpoints, like, best)
        if restored is None:
            raise missing
        step, params = restored
        continuation.check_network(
            checkpoints.run_config(step), components.as_json(config), checkpoints.path(step)
        )
        return Weights(which, step, params)
    finally:
        checkpoints.close()


def deployed(config: ml_collections.ConfigDict, which: str) -> ml_collections.ConfigDict:
    """Returns the config whose `eval` samples as the weights were refined, if they were.

    Refined weights belong to one solver, grid and number of steps. With `eval.refined_solver` set
    to False they are sampled like any others.

    Args:
        config: see `configs/edm_ssimbad.py`.
        which: "pretrain" or "refine".
    """
    if which != "refine" or not config.eval.refined_solver:
        return config
    progress.say(
        f"Refined weights are sampled as they were refined, by {solvers.describe(config.refine)}; "
        "--config.eval.refined_solver=False samples as the rest of config.eval says"
    )
    return solvers.of_refinement(config)
