"""The notebook runs from top to bottom and shows pictures, on a CPU with a tiny config."""

import os

import nbclient
import nbformat
import pytest

from tests import launching, program

pytestmark = pytest.mark.slow

_NOTEBOOK = program.REPOSITORY / "launch" / "colab_tpu.ipynb"
# How many pictures a cell shows.
_PICTURES = {"calibrate": 2, "train": 1, "refine": 1, "evaluate": 1, "colour": 4}
_FIELDS = {
    "refine__steps": 2,
    "refine__validate_every": 2,
    "refine__sample_every": 2,
    "refine__checkpoint_every": 2,
    "refine__sampler_steps": 1,
    "train__sample_every": 2,
    "eval__sampler_steps": 1,
}


def _parameters(folder) -> str:
    given = launching.flags(folder, **_FIELDS)
    flags = [flag for flag in given if not flag.startswith("--workdir=")]
    return "\n".join(
        [
            'REPO = PICTURES = ""',
            'CONFIG = "configs/edm_ssimbad.py"',
            f"WORKDIR = {str(folder / 'run')!r}",
            f"FLAGS = {flags}",
        ]
    )


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The cells after a run, by name; the parameters say that everything is installed."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(_NOTEBOOK, as_version=4)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert all(f"{name} = " in tagged[0].source for name in ("REPO", "CONFIG", "WORKDIR", "FLAGS"))
    tagged[0].source = _parameters(folder)
    where = {"metadata": {"path": str(program.REPOSITORY)}}
    nbclient.NotebookClient(notebook, timeout=400, resources=where).execute(
        env={**os.environ, **program.QUICK, "IPYTHONDIR": str(folder / "ipython")}
    )
    return {cell.id: cell for cell in notebook.cells}


def test_every_stage_shows_its_pictures(executed):
    shown = {
        name: sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for name, cell in executed.items()
        if cell.cell_type == "code"
    }
    assert {name: count for name, count in shown.items() if count} == _PICTURES


@pytest.mark.parametrize(
    ("status", "says", "build"),
    [
        (0, "580.65.06", "cuda13"),
        (0, "535.104.05", "cuda12"),
        (9, "NVIDIA-SMI has failed because it could not communicate with the driver.", "cpu"),
    ],
)
def test_the_build_of_jax_follows_from_the_driver(tmp_path, monkeypatch, status, says, build):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{says}'\nexit {status}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    cells = nbformat.read(_NOTEBOOK, as_version=4).cells
    (install,) = (cell.source for cell in cells if cell.id == "install")
    names = {}
    exec(install.partition("ACCELERATOR = ")[0], names)
    assert names["accelerator"]() == build


def test_nothing_is_installed_where_everything_is_there(executed):
    said = "".join(output.get("text", "") for output in executed["install"].outputs)
    assert "Uses jax[cpu]." in said
