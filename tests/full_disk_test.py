"""Full and read-only disks, for real: small file systems in memory, which only root may mount."""

import gc
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssimbad_jax.data import toy_face
from ssimbad_jax.stages import failures, run
from ssimbad_jax.training import checkpoint, recovery
from tests import same_results, tiny_run, toy_problem

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    # Orbax's threads give up reads and writes whose errors nobody asks for any more.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class Disk:
    """A file system of its own."""

    def __init__(self, path):
        self.path = path
        path.mkdir()

    def mount(self, options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.path]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            self.path.rmdir()
            pytest.skip(f"may not mount a file system here: {result.stderr.strip()}")

    def change(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


@pytest.fixture
def disk(tmp_path):
    """A disk of 4 MB."""
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = Disk(tmp_path / "disk")
    disk.mount("size=4m")
    yield disk
    gc.collect()  # what was given up is told now, not in another test
    disk.unmount()


def _large_state(step):
    params = {"w": jax.random.normal(jax.random.key(step), (200_000,)), "b": jnp.zeros(())}
    state = toy_problem.new_state()
    return state.replace(step=jnp.int32(step), params=params, ema_params=params)


def _save(checkpoints, step):
    checkpoints.save(_large_state(step), samples=step, run_config={}, validation_loss=1.0 / step)
    checkpoints.wait()


def test_checkpoints_on_a_full_disk_are_intact_and_saving_goes_on_when_there_is_space(disk):
    checkpoints = checkpoint.Checkpoints(disk.path / "checkpoints", keep=9)
    with pytest.raises(checkpoint.SaveError, match=r"No space left on device, \d MB free.*intact"):
        for step in range(1, 9):
            _save(checkpoints, step)
    checkpoints.close()
    disk.change("size=50m")
    again = checkpoint.Checkpoints(disk.path / "checkpoints", keep=9)
    restored = recovery.restore_newest(again, jax.eval_shape(lambda: _large_state(1)))
    jax.tree.map(np.testing.assert_array_equal, restored.state, _large_state(step - 1))
    _save(again, step)
    assert again.latest_step() == step
    again.close()


def test_a_run_on_a_full_disk_ends_with_one_line_and_can_be_continued(
    disk, finished_run, prepared_dir
):
    disk.change("size=1000k")
    workdir = disk.path / "run"
    config = tiny_run.make_config(prepared_dir)
    with pytest.raises(OSError, match=r"(?i)no space left") as error:
        run.run(config, workdir, ["calibrate", "train"])
    assert "same command" in str(error.value) and "\n" not in str(error.value)
    disk.change("size=50m")
    run.run(config, workdir, ["calibrate", "train"])
    same_results.assert_same_parameters(finished_run.workdir, workdir)


def test_data_preparation_on_a_full_disk_says_so_and_starts_again(disk, tmp_path):
    disk.change("size=60k")
    config = tiny_run.make_config(disk.path)

    def prepare(folder):
        faces = toy_face.prepare(folder, train=40, test=4, size=64)
        return [record["image"] for record in faces.as_data_source(split="train")]

    with pytest.raises(failures.StorageError, match=r"calibrate: no space left for .*prepared_dir"):
        with failures.explained("calibrate", config, (tmp_path, disk.path)):
            prepare(disk.path)
    disk.change("size=50m")
    np.testing.assert_array_equal(prepare(disk.path), prepare(tmp_path / "elsewhere"))


@pytest.mark.parametrize("stages", [["train"], ["evaluate"]])
def test_a_read_only_workdir_is_refused_before_any_work(disk, finished_run, prepared_dir, stages):
    disk.change("size=50m")
    shutil.copytree(finished_run.workdir / "checkpoints", disk.path / "run" / "checkpoints")
    disk.change("ro")
    with pytest.raises(
        failures.StorageError, match=r"start: .*disk/run.* cannot be written .*another --workdir"
    ):
        run.run(tiny_run.make_config(prepared_dir), disk.path / "run", stages)
