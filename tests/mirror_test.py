"""Workdirs in a bucket, which fsspec's memory stands in for."""

import json
import shutil
import time

import fsspec
import jax
import numpy as np
import pytest

from ssimbad_jax.data import bucket
from ssimbad_jax.stages import mirror, run, workdir_lock
from tests import tiny_run

ADDRESS = "memory://runs/mine"


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def _in_bucket(memory):
    paths = memory.find("/runs/mine")
    return {path.removeprefix("/runs/mine/"): memory.cat(path) for path in paths}


def _write(workdir, files):
    for name, content in files.items():
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).write_text(content)


def test_what_a_run_writes_goes_to_the_bucket_and_comes_back_elsewhere(memory, tmp_path):
    written = {"config.json": "{}", "checkpoints/10/array": "ten"}
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        _write(workdir, written | {".lock": "", "20.orbax-checkpoint-tmp/array": "half"})
    kept = _in_bucket(memory)
    manifest = json.loads(kept.pop(mirror.MANIFEST))
    assert kept == {name: content.encode() for name, content in written.items()}
    assert manifest["files"].keys() == written.keys()
    with mirror.on_disk(ADDRESS, tmp_path / "other") as elsewhere:
        assert {name: (elsewhere / name).read_text() for name in written} == written


def test_only_what_changed_is_copied_and_what_is_gone_is_removed(memory, tmp_path, monkeypatch):
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"log": "1", "checkpoints/10/array": "ten"})
    put, copied = memory.put_file, []

    def note(self, source, target, **options):
        copied.append(target)
        return put(source, target, **options)

    monkeypatch.setattr(type(memory), "put_file", note)
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        shutil.rmtree(workdir / "checkpoints" / "10")
        _write(workdir, {"log": "1, 2", "checkpoints/20/array": "twenty"})
    assert sorted(path.removeprefix("/runs/mine/") for path in copied) == [
        "checkpoints/20/array",
        "log",
    ]
    assert _in_bucket(memory).keys() == {"log", "checkpoints/20/array", mirror.MANIFEST}
    copied.clear()
    with mirror.on_disk(ADDRESS, tmp_path):
        pass
    assert copied == []


def test_copies_are_made_while_a_run_goes_on(memory, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "SECONDS_BETWEEN_COPIES", 0.01)
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"log": "1"})
        for _ in range(1000):
            if mirror.MANIFEST in _in_bucket(memory):
                break
            time.sleep(0.01)
        assert _in_bucket(memory)["log"] == b"1"


def test_a_run_that_is_killed_goes_on_from_the_disk(memory, tmp_path, monkeypatch):
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"log": "1"})
    with monkeypatch.context() as patch:
        patch.setattr(mirror._Mirror, "push", lambda self: None)
        with mirror.on_disk(ADDRESS, tmp_path) as workdir:
            _write(workdir, {"log": "1, 2"})
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        assert (workdir / "log").read_text() == "1, 2"
    assert _in_bucket(memory)["log"] == b"1, 2"


def test_a_copy_that_broke_off_is_never_taken_for_a_run(memory, tmp_path, monkeypatch):
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        _write(workdir, {"checkpoints/10/array": "ten"})

    def fail(self, source, target, **options):
        if target.endswith("b"):
            raise RuntimeError("connection reset")
        return put(source, target, **options)

    put = memory.put_file
    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", fail)
        with (
            pytest.raises(bucket.BucketError, match="connection reset"),
            mirror.on_disk(ADDRESS, tmp_path / "one") as workdir,
        ):
            _write(workdir, {"checkpoints/20/a": "twenty", "checkpoints/20/b": "twenty"})
    with mirror.on_disk(ADDRESS, tmp_path / "other") as elsewhere:
        assert [path.name for path in (elsewhere / "checkpoints").iterdir()] == ["10"]
    # Where it was made nothing is lost, and the same command brings it to the bucket.
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        assert (workdir / "checkpoints" / "20" / "b").exists()
    assert _in_bucket(memory)["checkpoints/20/b"] == b"twenty"


def test_checkpoints_replaced_during_a_copy_are_copied_whole(memory, tmp_path, monkeypatch):
    put = memory.put_file

    def replace(self, source, target, **options):
        if target.endswith("10/a"):
            shutil.rmtree(workdir / "checkpoints" / "10")
            _write(workdir, {"checkpoints/20/a": "twenty"})
        return put(source, target, **options)

    monkeypatch.setattr(type(memory), "put_file", replace)
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"checkpoints/10/a": "ten", "checkpoints/10/b": "ten"})
    manifest = json.loads(_in_bucket(memory)[mirror.MANIFEST])
    assert list(manifest["files"]) == ["checkpoints/20/a"]


def test_two_runs_do_not_write_to_one_bucket(memory, tmp_path):
    with (
        pytest.raises(bucket.BucketError, match="another run has written to memory://runs/mine"),
        mirror.on_disk(ADDRESS, tmp_path / "one") as first,
    ):
        _write(first, {"log": "first"})
        with mirror.on_disk(ADDRESS, tmp_path / "other") as second:
            _write(second, {"log": "second"})
    assert _in_bucket(memory)["log"] == b"second"
    with (
        mirror.on_disk(ADDRESS, tmp_path / "one"),
        pytest.raises(workdir_lock.LockedError, match="on this machine works on memory://runs"),
        mirror.on_disk(ADDRESS, tmp_path / "one"),
    ):
        pass


def test_what_was_never_copied_is_moved_aside(memory, tmp_path, capsys):
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        _write(workdir, {"log": "1"})
    with mirror.on_disk(ADDRESS, tmp_path / "other") as elsewhere:
        _write(elsewhere, {"log": "2"})
    _write(workdir, {"log": "1, and more"})
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        assert (workdir / "log").read_text() == "2"
    (aside,) = workdir.parent.glob("not_copied_*")
    assert (aside / "log").read_text() == "1, and more"
    assert f"not copied is in {aside}" in capsys.readouterr().out
    with mirror.on_disk(ADDRESS, tmp_path / "other") as elsewhere:
        pass
    with mirror.on_disk(ADDRESS, tmp_path / "one") as workdir:
        _write(workdir, {"log": "3"})
    with mirror.on_disk(ADDRESS, tmp_path / "other") as elsewhere:
        assert (elsewhere / "log").read_text() == "3"
    assert not list(elsewhere.parent.glob("not_copied_*"))


def test_a_copy_whose_answer_is_lost_is_known_as_ones_own(memory, tmp_path, monkeypatch):
    pipe = memory.pipe_file

    def lose_the_answer(self, path, value, **options):
        pipe(path, value, **options)
        raise RuntimeError("connection reset")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "pipe_file", lose_the_answer)
        with (
            pytest.raises(bucket.BucketError, match="connection reset"),
            mirror.on_disk(ADDRESS, tmp_path) as workdir,
        ):
            _write(workdir, {"log": "1"})
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"log": "1, 2"})
    assert _in_bucket(memory)["log"] == b"1, 2"


def test_a_workdir_that_was_removed_is_fetched_again(memory, tmp_path):
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        _write(workdir, {"log": "1"})
    shutil.rmtree(workdir)
    with mirror.on_disk(ADDRESS, tmp_path) as workdir:
        assert (workdir / "log").read_text() == "1"


def test_what_cannot_work_is_refused(memory, tmp_path, monkeypatch):
    with pytest.raises(bucket.BucketError, match="nosuch://a/b cannot be used"):
        mirror.on_disk("nosuch://a/b", tmp_path).__enter__()
    memory.pipe("/runs/mine/mirror.json", b'{"version": "1", "files": {"../x": [1, 1]}}')
    with pytest.raises(bucket.BucketError, match=r"names '\.\./x', which would leave"):
        mirror.on_disk(ADDRESS, tmp_path).__enter__()
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ValueError, match=r"there are 2 processes.*mount the bucket"):
        mirror.on_disk(ADDRESS, tmp_path).__enter__()


@pytest.mark.usefixtures("quick_compilation")
def test_a_training_goes_on_on_another_machine(finished_run, tmp_path):
    place = f"file://{tmp_path}/bucket/run"
    with mirror.on_disk(place, tmp_path / "one") as workdir:
        shutil.copytree(finished_run.workdir, workdir, dirs_exist_ok=True)
        shutil.rmtree(workdir / "checkpoints" / "pretrain" / str(tiny_run.STEPS))
    shutil.rmtree(tmp_path / "one")
    with mirror.on_disk(place, tmp_path / "other") as elsewhere:
        run.run(finished_run.config, elsewhere, ["calibrate", "train"])
        states = [
            tiny_run.restore(finished_run.config, folder, tiny_run.STEPS)
            for folder in (finished_run.workdir, elsewhere)
        ]
    jax.tree.map(np.testing.assert_array_equal, *states)
