"""Damaged checkpoints: found, set aside, and the one before used."""

import contextlib
import json
import os
import pathlib
import resource
import shutil

import jax
import numpy as np
import pytest

from ssimbad_jax.training import checkpoint, recovery, storage_noise
from tests import toy_problem
from tests.checkpoint_test import save, state_at

LIKE = jax.eval_shape(toy_problem.new_state)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Checkpoints of the steps 1 to 3, of which 2 has the smallest loss."""
    monkeypatch.setattr(storage_noise, "_SECONDS_FOR_THREADS", 0.0)
    opened = checkpoint.Checkpoints(tmp_path / "checkpoints", keep=3)
    for step, loss in ((1, 0.3), (2, 0.1), (3, 0.2)):
        save(opened, step, loss)
    opened.close()
    return tmp_path / "checkpoints"


@pytest.fixture
def opened(folder):
    """The same, open for writing."""
    checkpoints = checkpoint.Checkpoints(folder, keep=3)
    yield checkpoints
    checkpoints.close()


def _files(step_folder):
    return sorted(path for path in step_folder.rglob("*") if path.is_file() and path.stat().st_size)


def _flip(path, position):
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 0x10
    path.write_bytes(bytes(content))


def _tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_without_damage_the_newest_and_the_best_are_read(opened, capsys):
    restored = recovery.restore_newest(opened, LIKE)
    jax.tree.map(np.testing.assert_array_equal, restored.state, state_at(3))
    assert recovery.restore_ema_params(opened, LIKE.ema_params)[0] == 3
    assert recovery.restore_ema_params(opened, LIKE.ema_params, best=True)[0] == 2
    assert capsys.readouterr().out == ""


def test_a_truncated_checkpoint_is_set_aside_and_its_step_can_be_saved_again(opened, capsys):
    largest = max(_files(opened.path(3) / "training"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    for time in range(2):
        restored = recovery.restore_newest(opened, LIKE)
        jax.tree.map(np.testing.assert_array_equal, restored.state, state_at(2))
        assert restored.samples == 20
        (line,) = capsys.readouterr().out.splitlines()
        assert "Damaged checkpoint" in line and "checkpoints/3" in line and "step 2" in line
        aside = opened.directory.with_name("checkpoints_damaged") / ("3_2" if time else "3")
        assert str(aside) in line and (aside / "training").is_dir()
        save(opened, 3, 0.2)
        assert recovery.restore_newest(opened, LIKE).state.step == 3
        _flip(opened.path(3) / "position" / "metadata", 3)


@pytest.mark.parametrize("item", ["training", "ema_params"])
def test_wherever_a_bit_flips_the_state_is_right_or_the_one_before(folder, item):
    """In every file of the arrays; Orbax needs not all of them, and does not notice all flips."""
    read = checkpoint.Checkpoints(folder, read_only=True)
    steps = set()
    for number, path in enumerate(_files(folder / "3" / item)):
        before = path.read_bytes()
        _flip(path, len(before) * (1 + number % 5) // 6)
        content = _newest_sound(read)
        step = int(content.state.step)
        jax.tree.map(np.testing.assert_array_equal, content.state, state_at(step))
        assert content.samples == 10 * step and content.run_config == {"n": step}
        path.write_bytes(before)
        steps.add(step)
    read.close()
    assert steps <= {2, 3} and 2 in steps


@pytest.mark.parametrize(
    "file", ["config/metadata", "position/metadata", "metrics/metrics", "digests/metadata"]
)
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_in_the_small_files_is_found(folder, file, damage):
    path = folder / "3" / file
    if damage == "flip":
        # The last digit becomes another one: still JSON.
        content = path.read_text()
        digit = [place for place, sign in enumerate(content) if sign.isdigit()][-1]
        other = str((int(content[digit]) + 1) % 10)
        path.write_text(content[:digit] + other + content[digit + 1 :])
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    read = checkpoint.Checkpoints(folder, read_only=True)
    assert _newest_sound(read).state.step == 2
    read.close()


@pytest.mark.parametrize("item", ["training", "ema_params"])
def test_bits_that_flip_in_what_orbax_notes_are_damage_and_no_other_error(folder, item):
    """Orbax raises whatever comes of it, such as AttributeError for a name that has changed."""
    read = checkpoint.Checkpoints(folder, read_only=True)
    for pattern in ("_METADATA", "_sharding", "array_metadatas/*"):
        (path,) = (folder / "3" / item).glob(pattern)
        before = path.read_bytes()
        for position in range(0, len(before), max(1, len(before) // 6)):
            _flip(path, position)
            with pytest.raises(checkpoint.DamagedError):
                read.restore(3, LIKE)
        path.unlink()
        with pytest.raises(checkpoint.DamagedError):
            read.restore(3, LIKE)
        path.write_bytes(before)
    read.close()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (PermissionError(13, "Permission denied", "a"), checkpoint.ReadError),
        (OSError(24, "Too many open files", "a"), checkpoint.ReadError),
        (OSError(5, "Input/output error", "a"), checkpoint.ReadError),
        (
            ValueError("PERMISSION_DENIED: Failed to open: a [tensorstore_spec='{}']"),
            checkpoint.ReadError,
        ),
        (
            ValueError("RESOURCE_EXHAUSTED: Failed to open: a [tensorstore_spec='{}']"),
            checkpoint.ReadError,
        ),
        (TypeError("restore() has changed"), TypeError),
        (AttributeError("item_metadata"), AttributeError),
        (NotImplementedError("format 2"), NotImplementedError),
        (MemoryError(), MemoryError),
    ],
)
def test_what_is_no_damage_is_raised_and_nothing_is_moved(opened, monkeypatch, error, raised):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(opened._manager, "restore", fail)
    before = _tree(opened.directory.parent)
    with pytest.raises(raised):
        recovery.restore_newest(opened, LIKE)
    assert _tree(opened.directory.parent) == before


def test_too_many_open_files_are_no_damage(opened):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(list(pathlib.Path("/dev/fd").iterdir()))
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 20, hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(open(os.devnull))
        with pytest.raises(checkpoint.ReadError, match="Too many open files"):
            recovery.restore_newest(opened, LIKE)
    finally:
        for file in held:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert recovery.restore_newest(opened, LIKE).state.step == 3


def _newest_sound(read):
    for step in read.steps():
        try:
            return read.restore(step, LIKE)
        except checkpoint.DamagedError:
            continue
    raise AssertionError("nothing is left")


def test_reading_only_says_so_and_changes_nothing(folder, capsys):
    for path in _files(folder / "3" / "ema_params"):
        _flip(path, -2)
    before = _tree(folder.parent)
    read = checkpoint.Checkpoints(folder, read_only=True)
    step, params = recovery.restore_ema_params(read, LIKE.ema_params)
    read.close()
    assert step == 2
    jax.tree.map(np.testing.assert_array_equal, params, state_at(2).ema_params)
    (line,) = capsys.readouterr().out.splitlines()
    assert "Damaged checkpoint" in line and "step 2 is used instead" in line
    assert _tree(folder.parent) == before


@pytest.mark.parametrize("item", ["ema_params", "metrics"])
def test_a_damaged_best_checkpoint_gives_way_to_the_second_best(folder, item, capsys):
    for path in _files(folder / "2" / item):
        path.write_bytes(b"")
    read = checkpoint.Checkpoints(folder, read_only=True)
    step, _ = recovery.restore_ema_params(read, LIKE.ema_params, best=True)
    read.close()
    assert step == 3
    assert "checkpoints/2" in capsys.readouterr().out


def test_where_all_are_damaged_nothing_is_moved_and_nothing_starts_anew(opened):
    for step in (1, 2, 3):
        (opened.path(step) / "digests" / "metadata").write_text(json.dumps({"training": {}}))
    for _ in range(2):
        with pytest.raises(
            checkpoint.DamagedError, match=r"every checkpoint .* is damaged.*another --workdir"
        ):
            recovery.restore_newest(opened, LIKE)
    assert opened.steps() == [3, 2, 1]


def test_a_config_of_another_shape_is_no_damage(opened):
    other = LIKE.replace(params={**LIKE.params, "w": jax.ShapeDtypeStruct((4,), np.float32)})
    with pytest.raises(checkpoint.MisfitError, match=r"params/w, whose shape is .*\[3\].*\[4\]"):
        recovery.restore_newest(opened, other)
    assert opened.steps() == [3, 2, 1]


def test_a_checkpoint_saved_before_there_were_digests_is_read(opened):
    shutil.rmtree(opened.path(3) / "digests")
    restored = recovery.restore_newest(opened, LIKE)
    jax.tree.map(np.testing.assert_array_equal, restored.state, state_at(3))
