"""The flag --config; `main_test` has more of its refusals."""

import subprocess
import sys

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


def test_a_missing_file_is_told_in_one_line():
    parsed = _parse("--config=configs/none.py")
    assert parsed.returncode == 1
    assert "error: --config cannot be loaded; name a file such as" in parsed.stderr
    assert "Traceback" not in parsed.stderr
