"""Reading the newest or best checkpoint that is sound, past damaged ones."""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from ssimbad_jax.training import checkpoint, progress, sharding
from ssimbad_jax.training import state as state_lib

_Content = TypeVar("_Content")


def restore_newest(
    checkpoints: checkpoint.Checkpoints, like: state_lib.TrainState
) -> checkpoint.Restored | None:
    """Reads the newest sound checkpoint, None where there is none at all.

    Damaged ones are moved aside, each with a line that says so.

    Args:
        checkpoints: the folder, open for writing.
        like: see `Checkpoints.restore`.

    Raises:
        checkpoint.DamagedError: all are damaged; nothing was moved.
        checkpoint.MisfitError: the checkpoint's arrays are not those of `like`.
    """
    found = _first_sound(
        checkpoints, checkpoints.steps(), functools.partial(checkpoints.restore, like=like)
    )
    return found[1] if found else None


def restore_ema_params(
    checkpoints: checkpoint.Checkpoints, like: state_lib.Params, best: bool = False
) -> tuple[int, state_lib.Params] | None:
    """Reads step and averaged parameters of the newest sound checkpoint, None where there is none.

    Args:
        checkpoints: the folder. Open for reading only, damaged checkpoints are named and stay.
        like: see `Checkpoints.restore_ema_params`.
        best: of the one with the smallest validation loss, instead.

    Raises:
        checkpoint.DamagedError: all are damaged; nothing was moved.
        checkpoint.MisfitError: the checkpoint's arrays are not those of `like`.
    """
    steps = checkpoints.steps_by_loss() if best else checkpoints.steps()
    return _first_sound(
        checkpoints, steps, functools.partial(checkpoints.restore_ema_params, like=like)
    )


def _first_sound(
    checkpoints: checkpoint.Checkpoints, steps: Sequence[int], read: Callable[[int], _Content]
) -> tuple[int, _Content] | None:
    damaged: dict[int, checkpoint.DamagedError] = {}
    for step in steps:
        fault = None
        try:
            content = read(step)
        except checkpoint.DamagedError as error:
            fault = error
        # All hosts go back to the same one.
        if sharding.on_any_host(fault is not None):
            damaged[step] = fault or checkpoint.DamagedError(
                f"{checkpoints.path(step)} (on another host)"
            )
            continue
        for number, reason in damaged.items():
            moved = "" if checkpoints.read_only else f" It is now {checkpoints.set_aside(number)};"
            progress.say(
                f"Damaged checkpoint: {reason}.{moved} the one of step {step} is used instead."
            )
        return step, content
    if damaged:
        raise checkpoint.DamagedError(
            f"every checkpoint in {checkpoints.directory} is damaged, such as "
            f"{next(iter(damaged.values()))}; put back a copy, or start anew with another "
            "--workdir"
        )
    return None
