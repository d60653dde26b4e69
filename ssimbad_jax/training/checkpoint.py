"""Checkpoints by Orbax: asynchronous, atomic, the newest ones and the best kept.

This is the only file that knows Orbax. A checkpoint holds the training state, the position in the
data and the config of the run; the averaged parameters are an item of their own, so that sampling
reads nothing else.
"""

import pathlib
from typing import Any

import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from ssimbad_jax.training import state as state_lib

VALIDATION_LOSS = "validation_loss"


class Checkpoints:
    """The checkpoints of one training run."""

    def __init__(self, directory: pathlib.Path, keep: int = 2, read_only: bool = False):
        """Opens the folder.

        Args:
            directory: where the checkpoints are; made if it does not exist.
            keep: newest checkpoints kept, beside the one with the smallest validation loss.
            read_only: change nothing, for reading beside a run that may be writing.

        Raises:
            FileNotFoundError: a folder to read from does not exist.
        """
        if read_only and not directory.is_dir():
            raise FileNotFoundError(
                f"{directory} does not exist; train first: --stages=calibrate,train"
            )
        self.directory = directory.absolute()
        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep),
                checkpoint_managers.BestN(
                    get_metric_fn=_validation_loss,
                    reverse=True,
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._manager = ocp.CheckpointManager(
            self.directory,
            item_handlers={
                "training": ocp.StandardCheckpointHandler(),
                "ema_params": ocp.StandardCheckpointHandler(),
                "position": ocp.JsonCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
            },
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policy,
                best_fn=_validation_loss,
                best_mode="min",
                enable_async_checkpointing=True,
                # What an interrupted save left behind is no checkpoint.
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
            ),
        )

    def save(
        self,
        state: state_lib.TrainState,
        *,
        samples: int,
        run_config: dict[str, Any],
        validation_loss: float,
    ) -> None:
        """Starts writing a checkpoint; returns when the state may be overwritten.

        Args:
            state: the training state.
            samples: global number of the next training sample.
            run_config: the config of the run, plain JSON types.
            validation_loss: decides which checkpoint is the best.
        """
        training = {"step": state.step, "params": state.params, "opt_state": state.opt_state}
        self._manager.save(
            int(state.step),
            args=ocp.args.Composite(
                training=ocp.args.StandardSave(training),
                ema_params=ocp.args.StandardSave(state.ema_params),
                position=ocp.args.JsonSave({"samples": samples}),
                config=ocp.args.JsonSave(run_config),
            ),
            metrics={VALIDATION_LOSS: validation_loss},
            force=True,
        )

    def restore(
        self, step: int, like: state_lib.TrainState
    ) -> tuple[state_lib.TrainState, int, dict[str, Any]]:
        """Reads a checkpoint.

        Args:
            step: which one.
            like: a state of the same structure; its shapes, dtypes and shardings decide where the
                arrays go. Abstract arrays will do.

        Returns:
            The state, the global number of the next training sample, and the config.

        Raises:
            ValueError: the checkpoint's arrays are not those of `like`.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        training = {
            "step": abstract.step,
            "params": abstract.params,
            "opt_state": abstract.opt_state,
        }
        self._check_fits(step, "training", training)
        self._check_fits(step, "ema_params", abstract.ema_params)
        restored = self._manager.restore(
            step,
            args=ocp.args.Composite(
                training=ocp.args.StandardRestore(training),
                ema_params=ocp.args.StandardRestore(abstract.ema_params),
                position=ocp.args.JsonRestore(),
                config=ocp.args.JsonRestore(),
            ),
        )
        state = state_lib.TrainState(
            ema_params=restored["ema_params"], is_healthy=jnp.ones((), bool), **restored["training"]
        )
        return state, restored["position"]["samples"], restored["config"]

    def restore_ema_params(self, step: int, like: state_lib.Params) -> state_lib.Params:
        """Reads only the averaged parameters of a checkpoint.

        Args:
            step: which one.
            like: as in `restore`, only the parameters.

        Returns:
            The averaged parameters.

        Raises:
            ValueError: the checkpoint's arrays are not those of `like`.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        self._check_fits(step, "ema_params", abstract)
        restored = self._manager.restore(
            step, args=ocp.args.Composite(ema_params=ocp.args.StandardRestore(abstract))
        )
        return restored["ema_params"]

    def _check_fits(self, step: int, item: str, like: Any) -> None:
        """Compares shapes before anything is read, to name what differs."""
        saved = _shapes(self._manager.item_metadata(step)[item].tree)
        wanted = _shapes(like)
        different = sorted(name for name in saved | wanted if saved.get(name) != wanted.get(name))
        if different:
            name = different[0]
            raise ValueError(
                f"{self.path(step)} does not fit this config: {len(different)} arrays differ, such "
                f"as {name}, whose shape is {saved.get(name)} there and {wanted.get(name)} here. "
                "Use the config the run was made with (config.json beside the checkpoints), or "
                "another --workdir."
            )

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Returns the step with the smallest validation loss, None where there is none."""
        return self._manager.best_step()

    def path(self, step: int) -> pathlib.Path:
        """Returns the folder of a checkpoint."""
        return self.directory / str(step)

    def wait(self) -> None:
        """Returns when everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for unfinished saves and closes the folder."""
        self.wait()
        self._manager.close()


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every array by its path, the same for containers of any type."""
    state = flax.serialization.to_state_dict(tree)
    flat = flax.traverse_util.flatten_dict(state, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items() if hasattr(leaf, "shape")}


def _validation_loss(metrics: dict[str, float]) -> float:
    return metrics[VALIDATION_LOSS]
