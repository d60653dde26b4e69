"""The command that imports official weights."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags

from ssimbad_jax import torch_import
from ssimbad_jax.models import official_unet
from tests import official_weights

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]


def start(*flags):
    return subprocess.Popen(
        [sys.executable, "-m", "ssimbad_jax.torch_import", *flags],
        cwd=_REPOSITORY,
        env=os.environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def results(golden, tmp_path_factory):
    """(folder, exit status, stdout, stderr) of calls, started together, since imports take time."""
    folder = tmp_path_factory.mktemp("torch_import")
    path = folder / "model.ckpt"
    official_weights.write_pretrained(path, official_weights.unet_weights(golden))
    (folder / "page.ckpt").write_text("<!DOCTYPE html><html></html>")
    calls = {
        "works": [f"--from={path}", "--config.model.num_heads=8", "--config.eval.sampler=euler"],
        "unknown field": [f"--from={path}", "--config.model.headz=8"],
        "web page": [f"--from={folder / 'page.ckpt'}"],
    }
    started = {name: start(*flags, f"--out={folder / name}") for name, flags in calls.items()}
    said = {name: process.communicate() for name, process in started.items()}
    return {name: (folder / name, started[name].returncode, *said[name]) for name in calls}


def test_the_command_makes_a_run_with_the_fields_that_are_set(results):
    out, status, said, errors = results["works"]
    assert (status, errors) == (0, "")
    config = json.loads((out / "config.json").read_text())
    assert (config["model"]["num_heads"], config["eval"]["sampler"]) == (8, "euler")
    assert config["data"]["image_size"] == 16  # the file's, not that of the flags' defaults
    assert "torch_import: 833,187 parameters" in said and "by the option c" in said
    assert f"{out / 'checkpoints' / 'pretrain'} (pretrain weights)" in said


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("unknown field", "--config has no field 'headz'; see configs/edm_ssimbad.py"),
        (
            "web page",
            "page.ckpt cannot be imported: page.ckpt is no file of tensors",
        ),
    ],
)
def test_refusals_are_one_line_and_write_nothing(results, name, message):
    out, status, said, errors = results[name]
    assert (status, said) == (1, "")
    assert errors.startswith("error: ") and errors.count("\n") == 1 and message in errors
    assert not out.exists()


def test_the_conversion_is_there_for_python_without_the_programs_flags():
    assert torch_import.unet_params is official_unet.unet_params
    assert "from" not in flags.FLAGS
