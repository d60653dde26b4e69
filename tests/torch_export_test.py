"""The command that exports weights."""

import os
import pathlib
import subprocess
import sys

import safetensors.numpy

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def test_the_command_writes_the_file(finished_run, tmp_path):
    out = tmp_path / "model.safetensors"
    command = [sys.executable, "-m", "ssimbad_jax.torch_export"]
    flags = [f"--run={finished_run.workdir}", f"--out={out}"]
    done = subprocess.run(
        [*command, *flags], cwd=_REPOSITORY, env=os.environ, text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "UNet(channel_in=7, channel_out=3, channel_base=8" in done.stdout
    assert "groups of GroupNorm have to be 4" in done.stdout
    assert safetensors.numpy.load_file(out)["input.0.weight"].shape == (8, 7, 1, 1)
