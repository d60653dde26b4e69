"""Checkpoints by Orbax: asynchronous, atomic, the newest ones and the best kept.

This is the only file that knows Orbax. A checkpoint holds the training state, the position in the
data and the config of the run; the averaged parameters are an item of their own, so that sampling
reads nothing else. Digests of all of it are kept with it: what cannot be decoded, or is not what
was saved, is damaged, and `training.recovery` uses the checkpoint before it. What the system or
Orbax itself fails with is no damage, and is raised.
"""

import contextlib
import itertools
import json
import math
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from ssimbad_jax.training import digest, sharding, storage_noise, whole_file
from ssimbad_jax.training import state as state_lib

VALIDATION_LOSS = "validation_loss"

# Of a checkpoint: digests of what Orbax notes beside the arrays, and where it notes that.
_SEAL = "notes_digests.json"
_NOTES = ("_CHECKPOINT_METADATA", "*/_METADATA", "*/_sharding", "*/array_metadatas/*")

# Codes that TensorStore's errors begin with where the system is at fault, not the content.
_SYSTEM_CODES = (
    "ABORTED:",
    "CANCELLED:",
    "DEADLINE_EXCEEDED:",
    "INTERNAL:",
    "PERMISSION_DENIED:",
    "RESOURCE_EXHAUSTED:",
    "UNAUTHENTICATED:",
    "UNAVAILABLE:",
    "UNIMPLEMENTED:",
    "UNKNOWN:",
)


class DamagedError(RuntimeError):
    """A checkpoint's parts are missing, cannot be decoded, or are not what was saved."""


class MisfitError(ValueError):
    """A checkpoint is sound and belongs to another config."""


class ReadError(OSError):
    """The system does not let a checkpoint be read, which may be sound."""


class SaveError(OSError):
    """A checkpoint could not be written."""


class Restored(NamedTuple):
    """The content of a checkpoint.

    Attributes:
        state: the training state.
        samples: global number of the next training sample.
        run_config: the config of the run that saved it.
    """

    state: state_lib.TrainState
    samples: int
    run_config: dict[str, Any]


class _Manager(ocp.CheckpointManager):
    """Orbax's, which would trip over a damaged file of metrics and take NaN for the best loss."""

    def metrics(self, step: int) -> Any:
        """Returns the metrics by which checkpoints are ranked, None where there are none."""
        saved = self.saved_metrics(step)
        return saved if saved is not None and math.isfinite(_validation_loss(saved)) else None

    def saved_metrics(self, step: int) -> Any:
        """Returns the metrics as they were saved, None where there are none to be read."""
        try:
            saved = super().metrics(step)
        except ValueError:
            return None
        return saved if saved is not None and VALIDATION_LOSS in saved else None


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
        self.read_only = read_only
        self._unsealed: int | None = None  # the step that was saved last
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
        self._manager = _Manager(
            self.directory,
            item_handlers={
                "training": ocp.StandardCheckpointHandler(),
                "ema_params": ocp.StandardCheckpointHandler(),
                "position": ocp.JsonCheckpointHandler(),
                "config": ocp.JsonCheckpointHandler(),
                "digests": ocp.JsonCheckpointHandler(),
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
        validation_loss: float | None,
    ) -> None:
        """Starts writing a checkpoint; returns when the state may be overwritten.

        Args:
            state: the training state.
            samples: global number of the next training sample.
            run_config: the config of the run, plain JSON types.
            validation_loss: decides which checkpoint is the best; None or not finite: this one
                is not.

        Raises:
            SaveError: it cannot be written, or the one before could not.
        """
        training = _training_item(state)
        position = {"samples": samples}
        ranks = validation_loss is not None and math.isfinite(validation_loss)
        metrics = {VALIDATION_LOSS: validation_loss} if ranks else None
        digests = digest.of_items(
            {"training": training, "ema_params": state.ema_params},
            {"position": position, "config": run_config, "metrics": metrics},
        )
        with self._writing():
            self._manager.save(
                int(state.step),
                args=ocp.args.Composite(
                    training=ocp.args.StandardSave(training),
                    ema_params=ocp.args.StandardSave(state.ema_params),
                    position=ocp.args.JsonSave(position),
                    config=ocp.args.JsonSave(run_config),
                    digests=ocp.args.JsonSave(digests),
                ),
                metrics=metrics,
                force=True,
            )
        self._unsealed = int(state.step)

    def restore(self, step: int, like: state_lib.TrainState) -> Restored:
        """Reads a checkpoint.

        Args:
            step: which one.
            like: a state of the same structure; its shapes, dtypes and shardings decide where the
                arrays go. Abstract arrays will do.

        Raises:
            DamagedError: parts are missing, cannot be decoded, or are not what was saved.
            ReadError: the system does not let it be read.
            MisfitError: the checkpoint's arrays are not those of `like`.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        items = {"training": _training_item(abstract), "ema_params": abstract.ema_params}
        content = self._read(step, items, ("position", "config"))
        state = state_lib.TrainState(
            ema_params=content["ema_params"], is_healthy=jnp.ones((), bool), **content["training"]
        )
        return Restored(state, content["position"]["samples"], content["config"])

    def restore_ema_params(self, step: int, like: state_lib.Params) -> state_lib.Params:
        """Reads only the averaged parameters of a checkpoint; otherwise like `restore`."""
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        return self._read(step, {"ema_params": abstract}, ())["ema_params"]

    def run_config(self, step: int) -> dict[str, Any]:
        """Returns only the config of the run that saved a checkpoint; otherwise like `restore`."""
        return self._read(step, {}, ("config",))["config"]

    def _read(self, step: int, arrays: dict[str, Any], jsons: Sequence[str]) -> dict[str, Any]:
        """Reads items and compares them with what was saved."""
        with storage_noise.silenced():
            try:
                return self._read_or_raise(step, arrays, jsons)
            except MisfitError:
                raise
            except (ValueError, OSError) as error:
                reason = f"{self.path(step)} ({storage_noise.in_short(error)})"
                if not _is_damage(error):
                    raise ReadError(
                        f"{reason} cannot be read, and may be sound; fix that and run the same "
                        "command again"
                    ) from error
            storage_noise.collect_unfinished_reads()
        raise DamagedError(reason)

    def _read_or_raise(
        self, step: int, arrays: dict[str, Any], jsons: Sequence[str]
    ) -> dict[str, Any]:
        self._check_seal(step)
        digests = self._digests(step)
        metadata = self._manager.item_metadata(step)
        for item, like in arrays.items():
            if metadata[item] is None:
                raise digest.MismatchError(f"the list of arrays in {item} is missing")
            saved = _shapes(metadata[item].tree)
            if digests and saved != digest.shapes(digests, item):
                raise digest.MismatchError(f"the list of arrays in {item} is not what was saved")
            self._check_fits(step, saved, _shapes(like))
        wanted = {item: ocp.args.StandardRestore(like) for item, like in arrays.items()}
        wanted |= {item: ocp.args.JsonRestore() for item in jsons}
        content = dict(self._manager.restore(step, args=ocp.args.Composite(**wanted)))
        if digests:
            read = {item: content[item] for item in jsons}
            read["metrics"] = self._manager.saved_metrics(step)
            digest.check_items(digests, {item: content[item] for item in arrays}, read)
        return content

    def _seal(self) -> None:
        """Writes digests of what Orbax itself notes in a checkpoint, once it is on disk.

        Orbax raises anything on reading notes that a bit flipped in; with digests, what it raises
        on sound ones is its own fault or the system's, and no damage.
        """
        step = self._unsealed
        if step is None or jax.process_index() > 0:
            return
        folder = self.path(step)
        notes = [path for pattern in _NOTES for path in folder.glob(pattern) if path.is_file()]
        if folder.is_dir():
            with whole_file.replacing(folder / _SEAL) as unfinished:
                record = digest.of_files(folder, sorted(notes))
                unfinished.write_text(json.dumps(record), encoding="utf-8")
        self._unsealed = None

    def _check_seal(self, step: int) -> None:
        """Compares Orbax's notes with their digests; a run killed before has none."""
        with contextlib.suppress(FileNotFoundError):
            text = (self.path(step) / _SEAL).read_text(encoding="utf-8")
            digest.check_files(json.loads(text), self.path(step))

    def _digests(self, step: int) -> dict[str, Any]:
        """Returns the digests of a checkpoint; none of those that were saved before there were."""
        if not (self.path(step) / "digests").exists():
            return {}
        wanted = ocp.args.Composite(digests=ocp.args.JsonRestore())
        digests = self._manager.restore(step, args=wanted)["digests"]
        digest.check_itself(digests)
        return digests

    def _check_fits(self, step: int, saved: dict[str, str], wanted: dict[str, str]) -> None:
        """Compares shapes before anything is read, to name what differs."""
        different = sorted(name for name in saved | wanted if saved.get(name) != wanted.get(name))
        if different:
            name = different[0]
            raise MisfitError(
                f"{self.path(step)} does not fit this config: {len(different)} arrays differ, such "
                f"as {name}, whose shape is {saved.get(name)} there and {wanted.get(name)} here. "
                "Use the config the run was made with (config.json beside the checkpoints), or "
                "another --workdir."
            )

    def latest_step(self) -> int | None:
        """Returns the step of the newest checkpoint, None where there is none."""
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """Returns the step with the smallest finite validation loss, None where there is none."""
        return self._manager.best_step()

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, the newest first."""
        return sorted(self._manager.all_steps(), reverse=True)

    def steps_by_loss(self) -> list[int]:
        """Returns the steps that have a validation loss, the smallest first.

        One whose loss cannot be read comes before all: it is damaged, and to read it says so. Those
        whose loss is not finite come last.
        """
        losses = {}
        for step in self.steps():
            metrics = self._manager.saved_metrics(step)
            if metrics is not None:
                loss = _validation_loss(metrics)
                losses[step] = loss if math.isfinite(loss) else float("inf")
            elif (self.path(step) / "metrics").exists():
                losses[step] = float("-inf")
        return sorted(losses, key=losses.__getitem__)

    def path(self, step: int) -> pathlib.Path:
        """Returns the folder of a checkpoint."""
        return self.directory / str(step)

    def set_aside(self, step: int) -> pathlib.Path:
        """Moves a checkpoint out of the way, so that its step can be saved again.

        Returns:
            Where it is now.
        """
        folder = self.directory.with_name(f"{self.directory.name}_damaged")
        names = itertools.chain([str(step)], (f"{step}_{n}" for n in itertools.count(2)))
        target = next(folder / name for name in names if not (folder / name).exists())
        # All hosts have found the same place before one of them fills it.
        sharding.wait_for_all(f"find a place for {step}")
        with sharding.first_host_first(f"set {step} aside"):
            if jax.process_index() == 0:
                folder.mkdir(exist_ok=True)
                self.path(step).rename(target)
        self._manager.reload()
        return target

    def check(self) -> None:
        """Raises what went wrong with a finished save, without waiting for one under way.

        Raises:
            SaveError: the last checkpoint could not be written.
        """
        if not self._manager.is_saving_in_progress():
            self.wait()

    def wait(self) -> None:
        """Returns when everything saved is on disk.

        Raises:
            SaveError: the last checkpoint could not be written.
        """
        with self._writing():
            self._manager.wait_until_finished()
            self._seal()

    def close(self) -> None:
        """Waits for unfinished saves and closes the folder.

        Raises:
            SaveError: the last checkpoint could not be written.
        """
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # what it raises, `wait` has raised
                self._manager.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            reason = storage_noise.in_short(error)
            raise SaveError(
                f"a checkpoint could not be written to {self.directory} ({reason}, "
                f"{shutil.disk_usage(self.directory).free / 1e6:.0f} MB free); those before are "
                "intact. Mend that and run the same command again"
            ) from error


def _training_item(state: state_lib.TrainState) -> dict[str, Any]:
    return {"step": state.step, "params": state.params, "opt_state": state.opt_state}


def _shapes(tree: Any) -> dict[str, str]:
    return {name: digest.kind_and_shape(leaf) for name, leaf in digest.flatten(tree).items()}


def _is_damage(error: ValueError | OSError) -> bool:
    """Returns whether an error says that content is missing, cannot be decoded or is another."""
    decoding = digest.MismatchError, json.JSONDecodeError, UnicodeDecodeError, FileNotFoundError
    if isinstance(error, decoding):
        return True
    # TensorStore has one type of error for all; it shows where it opened, and the code comes first.
    text = str(error)
    return "tensorstore" in text and not text.startswith(_SYSTEM_CODES)


def _validation_loss(metrics: dict[str, float]) -> float:
    return metrics[VALIDATION_LOSS]
