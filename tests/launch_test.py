"""The launch scripts and the notebook are well formed and name only what exists."""

import json
import pathlib
import re
import runpy
import subprocess

import pytest

_REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
_SCRIPTS = sorted((_REPOSITORY / "launch").glob("*.sh"))
_NOTEBOOKS = sorted((_REPOSITORY / "launch").glob("*.ipynb"))
_COMMANDS = [*_SCRIPTS, *_NOTEBOOKS, _REPOSITORY / ".ci" / "run", _REPOSITORY / "Makefile"]


def _name(path: pathlib.Path) -> str:
    return path.relative_to(_REPOSITORY).as_posix()


def _text(path: pathlib.Path) -> str:
    """The commands of a file; of a notebook, its code cells."""
    if path.suffix != ".ipynb":
        return path.read_text()
    cells = json.loads(path.read_text())["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def test_every_kind_of_launcher_is_there():
    assert {path.name for path in _SCRIPTS + _NOTEBOOKS} >= {
        "slurm.sh",
        "tpu_pod.sh",
        "colab_tpu.ipynb",
    }


@pytest.mark.parametrize("script", [*_SCRIPTS, _REPOSITORY / ".ci" / "run"], ids=_name)
def test_scripts_are_executable_and_bash_reads_them(script):
    assert script.stat().st_mode & 0o100, f"{script} is not executable"
    result = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("variable", ["REPO", "TPU", "ZONE"])
def test_tpu_pod_names_the_missing_variable(variable):
    environment = {"PATH": "/nowhere", "REPO": "a", "TPU": "b", "ZONE": "c"}
    del environment[variable]
    bash = subprocess.run(["which", "bash"], capture_output=True, text=True, check=True)
    result = subprocess.run(
        [bash.stdout.strip(), _REPOSITORY / "launch" / "tpu_pod.sh"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode != 0
    assert variable in result.stderr


def test_tpu_pod_passes_the_flags_through_two_shells(tmp_path):
    """A stand-in for gcloud runs what the workers would, up to the training command."""
    (tmp_path / "gcloud").write_text(
        '#!/bin/bash\nfor a in "$@"; do [[ $a == --command=* ]] && echo "${a#--command=}"; done\n'
    )
    (tmp_path / "gcloud").chmod(0o755)
    result = subprocess.run(
        [_REPOSITORY / "launch" / "tpu_pod.sh", "--workdir=a b", "--config.train.steps=3"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "REPO": "r", "TPU": "t", "ZONE": "z"},
        capture_output=True,
        text=True,
        check=True,
    )
    (command,) = [line for line in result.stdout.splitlines() if "ssimbad_jax.main" in line]
    arguments = subprocess.run(
        ["bash", "-c", command.replace(".venv/bin/python", "printf '%s\\n'", 1)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert arguments == [
        "-m",
        "ssimbad_jax.main",
        "--distributed",
        "--config=configs/edm_ssimbad.py",
        "--workdir=a b",
        "--config.train.steps=3",
    ]


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=_name)
def test_notebooks_are_valid_and_clean(notebook):
    content = json.loads(notebook.read_text())
    assert content["nbformat"] == 4
    assert content["nbformat_minor"] >= 5
    identifiers = [cell["id"] for cell in content["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in content["cells"]:
        assert cell["cell_type"] in ("markdown", "code")
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", cell["id"])
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=_name)
def test_notebook_cells_compile(notebook):
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"]).replace("\\\n", " ")
            # Shell and magic lines are the notebook's, not Python's.
            python = re.sub(r"^(\s*)[!%].*$", r"\1pass", source, flags=re.MULTILINE)
            compile(python, f"{notebook.name}:{cell['id']}", "exec")


@pytest.mark.parametrize("path", _COMMANDS, ids=_name)
def test_configurations_and_fields_exist(path):
    text = _text(path)
    names = re.findall(r"configs/\w+\.py", text)
    assert names, f"{path} names no configuration"
    for name in names:
        get_config = runpy.run_path(str(_REPOSITORY / name))["get_config"]
        for field in re.findall(r"--config\.([\w.]+)=", text):
            node = get_config()
            for part in field.split("."):
                assert part in node, f"{path}: {name} has no field {field}"
                node = node[part]


@pytest.mark.parametrize("path", _COMMANDS, ids=_name)
def test_flags_of_main_exist(path):
    main = "".join(
        (_REPOSITORY / "ssimbad_jax" / name).read_text()
        for name in ("main.py", "config_flag.py", "host_flags.py")
    )
    defined = set(re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", main))
    commands = re.findall(r"ssimbad_jax\.main((?:[^\n]*\\\n)*[^\n]*)", _text(path))
    assert commands, f"{path} does not call ssimbad_jax.main"
    for command in commands:
        for flag in re.findall(r"(?<![\w-])--(\w+)", command):
            assert flag in defined, f"{path}: ssimbad_jax.main has no flag --{flag}"


@pytest.mark.parametrize("path", [*_SCRIPTS, *_NOTEBOOKS], ids=_name)
def test_accelerators_get_the_pinned_jax(path):
    (pinned,) = re.findall(r"^jax==(\S+)", (_REPOSITORY / "requirements.txt").read_text(), re.M)
    versions = re.findall(r"jax\[[^\]]+\]==([\d.]+)", path.read_text())
    assert versions, f"{path} installs no accelerator build of jax"
    assert set(versions) == {pinned}
