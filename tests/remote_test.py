"""Addresses are refused where only a disk will do."""

import os
import subprocess
import sys

import pytest
from absl import flags

from ssimbad_jax.configs import quickstart
from ssimbad_jax.stages import remote, validation
from tests import program

# A command, and a flag of it that holds a path.
COMMANDS = {
    "study": ["--run=gs://bucket/run"],
    "report": ["s3://bucket/run"],
}


@pytest.mark.parametrize("field", remote.FIELDS)
def test_fields_of_the_config_are_checked_before_anything_runs(field):
    config = quickstart.get_config()
    config.update_from_flattened_dict({field: "gs://bucket/x"})
    with pytest.raises(validation.ConfigError, match=rf"{field} is 'gs://bucket/x'.*gcsfuse"):
        validation.check(config, num_devices=1)


def test_one_of_several_paths_is_enough():
    with pytest.raises(flags.ValidationError, match=r"--sketch is 's3://b/a\.png'"):
        remote.check("--sketch", ["a.png", "s3://b/a.png"])
    assert remote.check("--sketch", ["a.png"]) and remote.check("--sketch", None)


def test_commands_refuse_addresses_and_make_no_folder(tmp_path):
    (tmp_path / "configs").symlink_to(program.REPOSITORY / "configs")
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"ssimbad_jax.{name}", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(program.REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, arguments in COMMANDS.items()
    }
    for name, process in started.items():
        said = process.communicate(timeout=300)[0]
        assert process.returncode not in (0, None), name
        assert "which is not on a disk; mount the bucket" in said
        assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["configs"]
