"""Errors that a user can mend: one line with the thing, its value and the remedy."""

import errno
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.stages import failures, run, weights
from ssimbad_jax.training import checkpoint, loop
from tests import tiny_run

OUT_OF_MEMORY = jax.errors.JaxRuntimeError(
    "RESOURCE_EXHAUSTED: Out of memory allocating 123 bytes.\nmore"
)


@pytest.fixture
def config():
    """A tiny config."""
    return tiny_run.make_config(pathlib.Path("prepared"))


@pytest.mark.parametrize(
    ("stage", "settings"),
    [
        ("calibrate", ["lower calibrate.max_memory_mb (now 512)"]),
        ("train", ["raise train.accumulate (now 1)", "lower train.batch_size (now 8)"]),
        ("train", ["data.image_size (now 16)"]),
        ("evaluate", ["lower eval.batch_size (now 8)"]),
    ],
)
@pytest.mark.parametrize("error", [OUT_OF_MEMORY, MemoryError()])
def test_too_little_memory_names_the_setting_to_lower(
    config, tmp_path, monkeypatch, stage, settings, error
):
    """Injected into each stage."""

    def fails(config, workdir, following=()):
        raise error

    monkeypatch.setattr(run, "STAGES", {**run.STAGES, stage: fails})
    monkeypatch.setattr(weights, "check_exist", lambda *_: None)  # as if it was trained
    with pytest.raises(failures.OutOfMemoryError, match=f"{stage}: out of memory") as raised:
        run.run(config, tmp_path, [stage])
    assert all(setting in str(raised.value) for setting in settings)
    assert "\n" not in str(raised.value)


def test_every_stage_has_a_remedy(config):
    assert set(failures.MEMORY_REMEDIES) == set(run.STAGES)
    for stage in run.STAGES:
        assert "(now " in failures._memory_remedy(stage, config)


@pytest.mark.parametrize(
    "allocate",
    [
        lambda: np.ones(2**60, np.uint8),
        lambda: jax.jit(lambda x: jnp.broadcast_to(x, (2**46,)) * 2)(jnp.uint8(3)),
    ],
    ids=["NumPy", "XLA"],
)
def test_what_numpy_and_xla_really_raise_is_recognised(config, tmp_path, allocate):
    with pytest.raises(failures.OutOfMemoryError, match=r"lower eval\.batch_size"):
        with failures.explained("evaluate", config, [tmp_path]):
            allocate()


def test_other_errors_of_xla_are_left_as_they_are(config, tmp_path):
    error = jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        with failures.explained("train", config, [tmp_path]):
            raise error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left"), "no space left for .* MB free"),
        (RuntimeError("array_record: No space left on device"), "no space left for .* MB free"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "no space left"),
        (
            OSError(errno.EROFS, "Read-only file system", "a/b"),
            r"a/b cannot be written \(Read-only",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), "a/b cannot be written"),
    ],
)
def test_full_and_read_only_disks_are_told_with_a_remedy(config, tmp_path, error, line):
    with pytest.raises(failures.StorageError, match=rf"train: {line}.* --workdir or data.prep"):
        with failures.explained("train", config, [tmp_path, tmp_path / "not" / "there"]):
            raise error


def test_other_system_errors_are_left_as_they_are(config, tmp_path):
    with pytest.raises(FileNotFoundError):
        with failures.explained("train", config, [tmp_path]):
            (tmp_path / "nothing").read_bytes()


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        OSError("a"),
        failures.OutOfMemoryError("a"),
        loop.NonFiniteError("a"),
        checkpoint.DamagedError("a"),
        checkpoint.SaveError("a"),
    ],
)
def test_the_program_ends_with_one_line(error):
    with pytest.raises(SystemExit) as stopped, failures.in_one_line():
        raise error
    assert stopped.value.code == "error: a"


def test_bugs_keep_their_traceback():
    with pytest.raises(KeyError), failures.in_one_line():
        raise KeyError("bug")
