"""The flag --config; `main_test` has more of its refusals."""

import subprocess
import sys

import pytest

from tests import program

_PARSE = """
import sys
from ssimbad_jax import config_flag
holder = config_flag.define()
config_flag.parse(sys.argv)
print(holder.value.train.steps)
"""


def _parse(*flags):
    return subprocess.run(
        [sys.executable, "-c", _PARSE, *flags],
        cwd=program.REPOSITORY,
        text=True,
        capture_output=True,
        check=False,
    )


def test_fields_are_overridden():
    parsed = _parse("--config=configs/quickstart.py", "--config.train.steps=7")
    assert (parsed.returncode, parsed.stdout) == (0, "7\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--config=configs/quickstart.py", "--config.train.stepz=7"],
            "error: --config.train.stepz=7: the config has no field 'stepz'; did you mean 'steps'?",
        ),
        (["--config=configs/none.py"], "error: --config cannot be loaded; name a file such as"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(flags, message):
    parsed = _parse(*flags)
    assert parsed.returncode == 1
    assert message in parsed.stderr and "Traceback" not in parsed.stderr
