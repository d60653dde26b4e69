"""An installation works without the checkout: its commands, and the configs it brings along."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from ssimbad_jax import console
from tests import program


def _run(command, folder, **environment):
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **program.QUICK, **environment},
        text=True,
        capture_output=True,
        check=False,
    )


def test_each_command_of_an_installation_is_a_module_of_the_package():
    package = pathlib.Path(console.__file__).parent
    commands = {name: value for name, value in vars(console).items() if hasattr(value, "func")}
    assert "colorize" in commands and "train" in commands
    for partial in commands.values():
        assert (package / f"{partial.args[0]}.py").is_file()
    declared = (program.REPOSITORY / "pyproject.toml").read_text()
    for name in commands:
        assert f'"ssimbad_jax.console:{name}"' in declared


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as `pip install .` leaves it, without what it needs."""
    source = tmp_path_factory.mktemp("source")
    for name in ("ssimbad_jax", "configs"):
        shutil.copytree(
            program.REPOSITORY / name,
            source / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(program.REPOSITORY / name, source)
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    done = _run([*pip, f"--target={target}", str(source)], source)
    assert done.returncode == 0, done.stderr
    return target


@pytest.mark.slow
def test_an_installation_holds_every_module_and_config(installed):
    for top in ("ssimbad_jax", "configs"):
        there = program.REPOSITORY / top
        place = installed / "ssimbad_jax" / ("configs" if top == "configs" else "")
        for path in there.rglob("*"):
            if path.suffix in (".py", ".html", ".css", ".js"):
                assert (place / path.relative_to(there)).is_file(), path


@pytest.mark.slow
def test_its_commands_run_beside_configs_of_another_project(installed, tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "__init__.py").write_text("raise ImportError('not these')")
    shown = _run(
        [sys.executable, installed / "bin" / "ssimbad-colorize", "--help"],
        tmp_path,
        PYTHONPATH=str(installed),
    )
    assert "--reference" in shown.stdout and "Traceback" not in shown.stderr
    flags = [
        "--config=benchmark_s32:edm",
        "--workdir=run",
        f"--config.data.prepared_dir={tmp_path / 'prepared'}",
        "--config.data.toy_faces_train=8",
        "--config.data.toy_faces_test=4",
        "--config.data.condition_size=32",
        "--config.model.base_channels=8",
        "--config.model.channel_multipliers=(1,1)",
        "--config.model.num_groups=4",
        "--config.train.batch_size=4",
        "--config.train.steps=1",
        "--config.train.warmup_steps=0",
        "--config.train.validation_images=4",
        "--config.eval.batch_size=4",
        "--config.eval.sampler_steps=1",
        "--config.eval.metrics=('psnr',)",
    ]
    trained = _run(
        [sys.executable, "-m", "ssimbad_jax.main", *flags],
        tmp_path,
        PYTHONPATH=str(installed),
    )
    assert trained.returncode == 0, trained.stderr
    assert (tmp_path / "run" / "eval" / "metrics.json").is_file()
