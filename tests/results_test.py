"""The table of results as a command."""

import os
import subprocess
import sys

import pytest

from ssimbad_jax import results
from tests import program, tiny_run

_COMMAND = [sys.executable, "-m", "ssimbad_jax.results"]
_ROW_ALONE = ("refine.sampler_steps", "refine.grid_steps")  # what makes a row what it is


def _run(*flags):
    return subprocess.run(
        [*_COMMAND, *flags],
        cwd=program.REPOSITORY,
        env={**os.environ, **program.QUICK},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.mark.slow
def test_a_row_is_made_from_pictures_to_page(prepared_dir, tmp_path):
    fields = {name: value for name, value in tiny_run.FIELDS.items() if name not in _ROW_ALONE}
    fields |= {"data.prepared_dir": str(prepared_dir), "train.steps": 4, "eval.max_images": 3}
    # The row's own sampler.
    fields = {n: v for n, v in fields.items() if not n.startswith("eval.sampler")}
    flags = ["--scale=paper", "--rows=regression", "--seeds=1", f"--out={tmp_path / 'out'}"]
    ended = _run(*flags, *(f"--set={name}={value}" for name, value in fields.items()))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = (tmp_path / "out" / "RESULTS.md").read_text()
    assert "| regression | euler-1 | 1 |" in text
    assert "scored: 3 pairs at 16 px" in text
    assert str(prepared_dir.parent) not in text
    assert (tmp_path / "out" / "results.html").read_text().count("data:image/webp") == 2 * 3


def test_bad_flags_are_refused_with_one_line(tmp_path):
    ended = _run("--rows=gan", f"--out={tmp_path / 'out'}")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("error: --rows names 'gan'; choose out of ssimbad,")
    assert ended.stderr.count("\n") == 1


def test_the_command_is_told_without_folders():
    folder = "some/where"
    given = [f"--data=/{folder}/faces/", f"--set=data.prepared_dir=~/{folder}", "--seeds=1"]
    assert results.command_of(given) == (
        "python -m ssimbad_jax.results --data=faces --set=data.prepared_dir=where --seeds=1"
    )
