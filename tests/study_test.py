"""The study as a command."""

import os
import subprocess
import sys

from ssimbad_jax.stages.studying import rows, table
from tests import program


def _start(*flags):
    return subprocess.Popen(
        [sys.executable, "-m", "ssimbad_jax.study", *flags],
        cwd=program.REPOSITORY,
        env={**os.environ, **program.QUICK},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_command_writes_where_it_is_told_or_refuses_with_one_line(finished_run, tmp_path):
    out = tmp_path / "out"
    few = ("--samplers=euler", "--grids=rational", "--calls=1", "--sigma_max=80", "--images=2")
    common = (f"--run={finished_run.workdir}", f"--out={out}")
    good, bad = _start(*common, *few), _start(*common, "--calls=1,many")
    said, error = bad.communicate()
    assert bad.returncode == 1 and "study" not in said
    assert error == "error: --calls is '1,many'; name numbers, such as 1,5\n"
    said, error = good.communicate()
    assert (good.returncode, error) == (0, "")
    assert f"study: results are in {out}" in said and "by the posterior mean from σ 80" in said
    assert len((out / rows.ROWS).read_text().splitlines()) == 4
    assert (out / table.PAGE).exists()
    assert not (finished_run.workdir / "study").exists()
