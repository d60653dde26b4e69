"""Plans as a command."""

import os
import subprocess
import sys

import pytest

from tests import program


def _run(*flags):
    command = [sys.executable, "-m", "ssimbad_jax.plan", "--config=configs/edm_ssimbad.py", *flags]
    return subprocess.run(
        command,
        cwd=program.REPOSITORY,
        env={**os.environ, **program.QUICK},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--device=h1000", "--device is 'h1000'; choose cpu or one of"),
        ("--device=h100x7", "not divisible by 7 devices; set train.batch_size"),
        ("--config.model.num_groups=7", "model.num_groups is 7"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(flag, message):
    ended = _run(flag)
    assert ended.returncode == 1
    assert message in ended.stderr and "Traceback" not in ended.stderr
