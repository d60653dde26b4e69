"""The command that exports weights."""

import os
import pathlib
import subprocess
import sys

import safetensors.numpy

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def test_the_command_writes_a_file_once(finished_run, tmp_path):
    out = tmp_path / "model.safetensors"
    command = [sys.executable, "-m", "ssimbad_jax.torch_export"]
    flags = [f"--run={finished_run.workdir}", f"--out={out}"]
    first, second = (
        subprocess.run(
            [*command, *flags], cwd=_REPOSITORY, env=os.environ, text=True, capture_output=True
        )
        for _ in range(2)
    )
    assert (first.returncode, first.stderr) == (0, "")
    assert "UNet(channel_in=7, channel_out=3, channel_base=8" in first.stdout
    assert "groups of GroupNorm have to be 4" in first.stdout
    assert safetensors.numpy.load_file(out)["input.0.weight"].shape == (8, 7, 1, 1)
    assert second.returncode == 1 and second.stdout == ""
    assert second.stderr == f"error: --out={out} exists already; name a new file\n"
